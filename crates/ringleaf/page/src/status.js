// The saved light, the plug, and the figures in the footer.
const plural = (count, word) => `${count} ${word}${count === 1 ? '' : 's'}`

const SAID = {
  opening: () => ['Opening…', 'Asking the server for the document'],
  saved: () => ['Saved', 'Everything you typed is on the server’s disk: each edit came back after it was written'],
  saving: () => ['Saving…', 'The server has not shown that your last edits are on its disk'],
  offline: ({ unsaved }) => unsaved > 0
    ? [`${plural(unsaved, 'edit')} only here`, 'Not connected: these edits are in this window and nowhere else']
    : ['Offline', 'Not connected. Nothing of yours is unsaved']
}

const milliseconds = (value) => {
  if (value === null) return '–'
  if (value < 10) return `${value.toFixed(1)} ms`
  return value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`
}

export const showStatus = (session) => {
  const element = (id) => document.getElementById(id)
  const [saved, savedText, plug, plugText] = ['saved', 'saved-text', 'plug', 'plug-text'].map(element)
  const [roundTrip, saveTime, characters] = ['round-trip', 'save-time', 'characters'].map(element)

  // Assigning equal text would make screen readers say it again.
  const set = (element, text) => { if (element.textContent !== text) element.textContent = text }

  let scheduled = false
  let savingShown
  const render = () => {
    scheduled = false
    const { state } = session
    const [text, title] = SAID[state](session.saved)
    saved.dataset.state = state
    saved.title = title
    document.body.dataset.state = state
    // A save takes milliseconds; words that flicker at each key would say nothing.
    clearTimeout(savingShown)
    if (state === 'saving') savingShown = setTimeout(() => set(savedText, text), 300)
    else set(savedText, text)
    plug.checked = session.plugged
    set(plugText, session.plugged ? 'Plugged in' : 'Unplugged')
    set(roundTrip, session.provider.synced ? milliseconds(session.roundTrip) : '–')
    set(saveTime, milliseconds(session.saved.took))
    set(characters, session.text.length.toLocaleString())
  }
  const schedule = () => {
    if (scheduled) return
    scheduled = true
    requestAnimationFrame(render)
  }

  session.addEventListener('change', schedule)
  session.text.observe(schedule)
  plug.addEventListener('change', () => { session.plugged = plug.checked })
  addEventListener('beforeunload', (event) => { if (session.saved.unsaved > 0) event.preventDefault() })
  render()
}
