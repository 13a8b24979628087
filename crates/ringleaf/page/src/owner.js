// Which node owns the document. The server that this page came from knows, or asks the others.
const INTERVAL = 1500

/** "n2 · epoch 3", as far as it is known. */
export const words = ({ owner, in_memory: holders = [] }) => {
  const names = holders.map((holder) => holder.node ?? owner)
  if (holders.length === 0) return owner ?? '–'
  // Two for a moment: one is letting go.
  const epoch = Math.max(...holders.map((holder) => holder.epoch ?? 0))
  return `${names.join(', ')}${epoch > 0 ? ` · epoch ${epoch}` : ''}`
}

export const showOwner = (element, name) => {
  const show = (text) => { if (element.textContent !== text) element.textContent = text }
  const look = async () => {
    try {
      const answer = await fetch(`/.where/${encodeURIComponent(name)}`)
      show(answer.ok ? words(await answer.json()) : '–')
    } catch {
      show('–')
    }
  }
  setInterval(() => { if (!document.hidden) look() }, INTERVAL)
  look()
}
