// Plain Yjs in place of the store: with it, too, everybody must read the same, or the comparison asks too much.
import { Peer } from './peer.mjs'

const peers = new Map()

export const forgetPlain = () => peers.clear()

export class PlainStore {
  constructor (number) {
    if (!peers.has(number)) peers.set(number, new Peer(13, { gc: false }))
    this.peer = peers.get(number)
  }

  admit (update) {
    const before = this.contents()
    this.peer.relayed.length = 0
    this.peer.apply(update)
    return this.contents() === before ? [] : this.peer.relayed.splice(0)
  }

  contents () { return this.peer.clocks() + this.peer.deletions() }

  vector () { return this.peer.vector() }

  clocks () { return this.peer.clocks() }

  /** Without what is pending: nobody is given that. */
  diff (vector) {
    const { store } = this.peer.doc
    const { pendingStructs, pendingDs } = store
    store.pendingStructs = store.pendingDs = null
    const update = this.peer.state(vector)
    Object.assign(store, { pendingStructs, pendingDs })
    return update
  }

  encode () { return this.diff() }

  compact () {}

  reload () {}

  merged () { return this.encode() }

  left () { return this.peer.waits() ? 1 : 0 }

  join (other) { this.peer.apply(other.peer.state()) }
}
