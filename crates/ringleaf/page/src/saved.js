// Knows which of our own edits are durable.
//
// ringleaf lets nothing leave before it is on disk: an edit that comes back (to its own author too), a state vector, an
// answer to ours. So an edit is saved when something from the server covers it, and not a moment earlier.
import * as Y from 'yjs'

/** What an update inserts for one client, and what it deletes. */
export const contentsOf = (update, clientId) => {
  const { structs, ds } = Y.decodeUpdate(update)
  let end = 0
  for (const struct of structs) {
    if (struct.id.client === clientId && !(struct instanceof Y.Skip)) {
      end = Math.max(end, struct.id.clock + struct.length)
    }
  }
  const deleted = []
  for (const [client, ranges] of ds.clients) {
    for (const { clock, len } of ranges) deleted.push({ client, clock, end: clock + len })
  }
  return { end, deleted }
}

/** What is left of a range when others are taken out of it. */
const without = (range, taken) => {
  let left = [range]
  for (const { client, clock, end } of taken) {
    if (client !== range.client) continue
    left = left.flatMap((part) => {
      if (end <= part.clock || clock >= part.end) return [part]
      return [{ ...part, end: clock }, { ...part, clock: end }].filter(({ clock, end }) => clock < end)
    })
  }
  return left
}

export class Saved {
  constructor (clientId, now = () => performance.now()) {
    this.clientId = clientId
    this.now = now
    /** Our edits that the server has not shown to be durable, oldest first. */
    this.waiting = []
    /** Our own clock up to which the server has. */
    this.clock = 0
    /** How long the last edit that was saved took, from keystroke to proof. */
    this.took = null
  }

  get unsaved () {
    return this.waiting.length
  }

  /** We have made an edit. */
  edited (update) {
    const { end, deleted } = contentsOf(update, this.clientId)
    this.waiting.push({ end, deleted, at: this.now() })
  }

  /** The server has sent an update. */
  heardUpdate (update) {
    const { end, deleted } = contentsOf(update, this.clientId)
    this.#covered(end, deleted)
  }

  /** The server has said what it has. */
  heardStateVector (stateVector) {
    this.#covered(Y.decodeStateVector(stateVector).get(this.clientId) ?? 0, [])
  }

  #covered (end, deleted) {
    this.clock = Math.max(this.clock, end)
    this.waiting = this.waiting.filter((edit) => {
      edit.deleted = edit.deleted.flatMap((range) => without(range, deleted))
      const saved = edit.end <= this.clock && edit.deleted.length === 0
      if (saved) this.took = this.now() - edit.at
      return !saved
    })
  }
}
