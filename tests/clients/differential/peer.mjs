// A document of Yjs 13 or 14 that somebody holds: an editor, or a receiver.
import { line13 } from './yjs13.mjs'
import { line14 } from './yjs14.mjs'
import { canonical, unitsOf, withoutHalves } from './view.mjs'
import { place, word } from './values.mjs'

export const LINES = { 13: line13, 14: line14 }

/** Where a transaction comes from. */
const HERE = 'here'
const ELSEWHERE = 'elsewhere'

/** Providers of Yjs talk to the console, and stdout is the pipe's. */
console.log = console.info = console.warn = console.error

export class Peer {
  /** `undo`: it remembers what it did. */
  constructor (kind, { client, gc = true, undo = false } = {}) {
    this.kind = kind
    this.line = LINES[kind]
    this.Y = this.line.Y
    this.doc = new this.Y.Doc({ gc, guid: 'document' })
    if (client !== undefined) this.doc.clientID = client
    this.gc = gc
    this.said = []
    this.relayed = []
    // What an editor cleans up after others is a change of its own: which changes there are would depend on how updates were grouped.
    this.doc.on('afterTransaction', (transaction) => { transaction._needFormattingCleanup = false })
    this.doc.on('update', (update, origin) => (origin === ELSEWHERE ? this.relayed : this.said).push(update))
    if (undo) {
      this.undo = new this.Y.UndoManager(this.line.roots(this.doc), { captureTimeout: 1e15, trackedOrigins: new Set([HERE]) })
    } else {
      this.line.roots(this.doc)
    }
  }

  apply (update) {
    this.Y.applyUpdate(this.doc, update, ELSEWHERE)
    return this
  }

  /** Changes something; returns the updates that say so. */
  edit (random, options) {
    this.said.length = 0
    if (random.chance(options.crowd ? 0.85 : 0.3)) return this.type(random, options)
    const together = random.between(1, 3)
    if (random.chance(0.7)) {
      this.doc.transact(() => { for (let left = together; left > 0; left--) this.line.edit(this.doc, random, options) }, HERE)
    } else {
      for (let left = together; left > 0; left--) this.doc.transact(() => this.line.edit(this.doc, random, options), HERE)
    }
    return this.said.splice(0)
  }

  /** Letter by letter, an update each, now and then a step back; or much at once. */
  type (random, { halves, crowd }) {
    const [text] = this.line.roots(this.doc)
    const units = unitsOf(text)
    // Mostly one goes on where one was, whatever others have written there meanwhile.
    // In a crowd also where somebody else is.
    const whose = crowd && random.chance(0.5) ? random.pick([...this.doc.store.clients.keys()]) : this.doc.clientID
    const wanted = random.chance(0.7) ? behindLast(text, whose, this.doc.store) : undefined
    let at = place(random, units, halves, wanted && Math.min(wanted, units.length))
    if (!crowd && random.chance(0.1)) {
      this.doc.transact(() => text.insert(at, word(random).repeat(random.between(20, 200))), HERE)
      return this.said.splice(0)
    }
    for (let left = random.between(1, crowd ? 2 : 8); left > 0; left--) {
      const letter = random.weighted([[9, random.pick(['a', 'b', 'c'])], [1, random.pick(['é', '漢', '😀'])]])
      if (random.chance(0.08)) {
        this.doc.transact(() => this.line.embed(text, at++, { image: letter }), HERE)
        continue
      }
      this.doc.transact(() => text.insert(at, letter), HERE)
      at += letter.length
      if (random.chance(0.1)) {
        at -= letter.length
        this.doc.transact(() => text.delete(at, letter.length), HERE)
      }
    }
    return this.said.splice(0)
  }

  undoOrRedo (random) {
    this.said.length = 0
    if (random.chance(0.3)) this.undo.stopCapturing()
    if (random.chance(0.65)) this.undo.undo()
    else this.undo.redo()
    return this.said.splice(0)
  }

  /** Everything, or what somebody lacks. */
  state (vector) { return this.Y.encodeStateAsUpdate(this.doc, vector) }

  vector () { return this.Y.encodeStateVector(this.doc) }

  clocks () { return canonical(Object.fromEntries(this.Y.decodeStateVector(this.vector()))) }

  view () { return this.line.view(this.doc) }

  deletions () { return this.line.deletions(this.doc) }

  /** Something refers to what is not there. */
  waits () {
    const { pendingStructs, pendingDs, skips } = this.doc.store
    return pendingStructs !== null || pendingDs !== null || (skips?.clients.size ?? 0) > 0
  }
}

/** The place behind what a client has written last, if that was in the text. */
const behindLast = (text, client, { clients }) => {
  const last = clients.get(client)?.at(-1)
  let at = 0
  for (let item = text._start; item !== null; item = item.right) {
    if (!item.deleted && item.countable) at += item.length
    if (item === last) return at
  }
}

/** Throws unless two peers of one kind hold the same. */
export const expectEqual = (what, peer, reference, { halves = false } = {}) => {
  if (peer.waits()) throw new Error(`${what}: something is missing at ${peer.line.name}`)
  expectSame(`${what}: state vector at ${peer.line.name}`, peer.clocks(), reference.clocks())
  expectSame(`${what}: content at ${peer.line.name}`, peer.view(), reference.view(), halves)
  expectSame(`${what}: deletions at ${peer.line.name}`, peer.deletions(), reference.deletions())
}

export const expectSame = (what, found, expected, halves = false) => {
  if (found === expected) return
  if (halves && withoutHalves(found) === withoutHalves(expected)) return
  const [here, there] = [found, expected].map((text) => text.split('\n'))
  const at = here.findIndex((line, at) => line !== there[at])
  throw new Error(`${what}\n  is        ${here[at]}\n  should be ${there[at]}`)
}
