// Which node owns the document, and the wish for another one. The server that this page came from knows, or asks the others.
const INTERVAL = 1500
// While a document is on its way. A move takes milliseconds; what takes longer is not waited for.
const MOVING_INTERVAL = 100
const MOVING_LOOKS_MAX = 50

/** "n2 · epoch 3", as far as it is known. */
export const words = ({ owner, in_memory: holders = [] }) => {
  const names = holders.map((holder) => holder.node ?? owner)
  if (holders.length === 0) return owner ?? '–'
  // Two for a moment: one is letting go.
  const epoch = Math.max(...holders.map((holder) => holder.epoch ?? 0))
  return `${names.join(', ')}${epoch > 0 ? ` · epoch ${epoch}` : ''}`
}

/** The node after the owner, by name; nothing if there is no other. */
export const another = ({ owner, candidates = [] }) => {
  const nodes = [...candidates].sort()
  if (nodes.length < 2) return undefined
  return nodes[(nodes.indexOf(owner) + 1) % nodes.length]
}

export const showOwner = (element, button, name, toast) => {
  const show = (text) => { if (element.textContent !== text) element.textContent = text }
  let known = {}
  const look = async () => {
    try {
      const answer = await fetch(`/.where/${encodeURIComponent(name)}`)
      known = answer.ok ? await answer.json() : {}
    } catch {
      known = {}
    }
    show(words(known))
    button.hidden = another(known) === undefined
  }
  const move = async (node) => {
    button.disabled = true
    try {
      const answer = await fetch(`/.move/${encodeURIComponent(name)}/${encodeURIComponent(node)}`, { method: 'POST' })
      const said = await answer.json()
      if (!answer.ok) return toast(said.error?.message ?? 'It cannot be moved')
      for (let looks = 0; looks < MOVING_LOOKS_MAX; looks += 1) {
        await look()
        const holders = known.in_memory ?? []
        if (known.owner === node && holders.every((holder) => holder.node === node)) return toast(`Moved to ${node}`)
        await new Promise((resolve) => setTimeout(resolve, MOVING_INTERVAL))
      }
      toast(`It will move to ${node}`)
    } catch {
      toast('The server does not answer')
    } finally {
      button.disabled = false
    }
  }
  button.addEventListener('click', () => {
    const node = another(known)
    if (node !== undefined) move(node)
  })
  setInterval(() => { if (!document.hidden) look() }, INTERVAL)
  look()
}
