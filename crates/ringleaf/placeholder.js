// The server allows no script within a page.
document.getElementById("host").textContent = location.host;
