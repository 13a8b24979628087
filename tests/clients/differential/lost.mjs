// A session in which messages overtake one another, editors leave and come back, and some have lost rows of what they had stored.
// In the end there is a server and there are editors, each with what it holds. Plain Yjs documents with the same then exchange
// everything, and whoever went through the store must have what they have.
import { Peer, expectEqual, expectSame } from './peer.mjs'
import { seeded } from './random.mjs'
import { GC, openStore } from './store.mjs'

const LAST = 1 << 20

export class LostSession {
  constructor (seed, number, leaveOut = new Set(), plain = false) {
    this.random = (step) => seeded(seed, number, step, 7)
    this.leaveOut = leaveOut
    const random = this.random(LAST)
    this.plan = {
      steps: random.between(15, 70),
      halves: false,
      old: random.chance(0.1),
      editors: Array.from({ length: random.between(2, 4) }, () => random.pick([[13], [13, 14]][random.below(2)])),
      compaction: random.pick([[GC.collect], [GC.keep, GC.collect]]),
      losses: random.pick([0, 0.2, 0.5])
    }
    this.store = openStore(0, plain)
    this.log = []
    this.told = []
    this.counts = { updates: 0, messages: 0, losses: 0, 'never complete': 0 }
    this.follower = new Peer(13)
    this.editors = this.plan.editors.map((kind, at) => (
      { at, kind, name: `editor ${at} (${kind})`, rows: [], up: [], down: [], peer: null }
    ))
    for (const editor of this.editors) this.come(random, editor)
  }

  note (what, bytes) { this.log.push([what, bytes]) }

  run () {
    for (let step = 1; step <= this.plan.steps; step++) {
      if (this.leaveOut.has(step)) continue
      const random = this.random(step)
      this.step = step
      random.weighted(STEPS)(this, random, random.pick(this.editors))
    }
    this.step = 'end'
  }

  tell (update) {
    this.note('the store is told', update)
    this.told.push(update)
    this.counts.messages++
    for (const news of this.store.admit(update)) {
      this.note('the store relays', news)
      this.follower.apply(news)
      if (this.follower.waits()) throw new Error('incomplete: the follower lacks something that news of the store refer to')
      for (const editor of this.editors) if (editor.peer) editor.down.push(news)
    }
  }

  /** What arrives is stored row by row, as providers of a local store do. */
  receive (editor, update) {
    editor.peer.apply(update)
    editor.rows.push(update)
  }

  /** From what was stored, with a client id of its own. Then both sides ask each other. */
  come (random, editor) {
    const client = random.below(editor.kind === 13 ? 2 ** 32 : 2 ** 53)
    editor.peer = new Peer(editor.kind, { client, gc: random.chance(0.8), undo: true })
    for (const row of editor.rows) editor.peer.apply(row)
    this.note(`${editor.name} comes as ${client}`)
    this.ask(editor)
  }

  ask (editor) {
    editor.down.push(this.store.diff(editor.peer.vector()))
    editor.up.push(editor.peer.state(this.store.vector()))
  }

  everybodyReturns (random) {
    for (const editor of this.editors) if (!editor.peer) this.come(random, editor)
    for (const editor of this.editors) {
      while (editor.up.length > 0) this.tell(random.take(editor.up))
      while (editor.down.length > 0) this.receive(editor, random.take(editor.down))
    }
  }

  /** Documents of Yjs 13 with what everybody holds; the last one is the server's. */
  plain () {
    const server = new Peer(13)
    for (const update of this.told) server.apply(update)
    const copies = this.editors.map(({ peer }) => new Peer(13).apply(peer.state()))
    return [...copies, server]
  }

  /** As in [`Session`]: nothing here is compared with anything but Yjs that got the same. */
  plainYjsDiffers () { return false }
}

const edit = (session, random, editor) => {
  if (!editor.peer) return
  for (const update of random.chance(0.2) ? editor.peer.undoOrRedo(random) : editor.peer.edit(random, session.plan)) {
    session.note(`${editor.name} says`, update)
    session.counts.updates++
    editor.rows.push(update)
    editor.up.push(update)
  }
}

const toStore = (session, random, editor) => {
  for (let left = random.between(1, 4); left > 0 && editor.up.length > 0; left--) session.tell(random.take(editor.up))
}

const toEditor = (session, random, editor) => {
  for (let left = random.between(1, 4); left > 0 && editor.peer && editor.down.length > 0; left--) {
    session.receive(editor, random.take(editor.down))
  }
}

const leave = (session, random, editor) => {
  if (!editor.peer) return session.come(random, editor)
  session.note(`${editor.name} leaves`)
  editor.peer = null
  editor.down.length = 0
  // What was on its way may still arrive, and may not.
  editor.up = random.some(editor.up, 0.5)
  if (random.chance(session.plan.losses)) {
    const kept = random.some(editor.rows, 0.8)
    session.counts.losses += editor.rows.length - kept.length
    session.note(`${editor.name} has lost ${editor.rows.length - kept.length} rows`)
    editor.rows = kept
  }
}

const ask = (session, random, editor) => { if (editor.peer) session.ask(editor) }

const compact = (session, random) => {
  session.note('the store is compacted')
  session.store.compact(random.pick(session.plan.compaction))
}

const reload = (session) => session.store.reload()

const STEPS = [[40, edit], [20, toStore], [20, toEditor], [8, leave], [4, ask], [3, compact], [2, reload]]

export const endLost = (session, random) => {
  session.everybodyReturns(random)
  const plain = session.plain()
  exchange(plain)
  untilQuiet(session, random)
  const server = plain.at(-1)
  const { store, editors } = session
  expectSame('state vector of the store', store.clocks(), server.clocks())
  // What waits for ever at plain Yjs is not shown by it, and not given away by the store.
  const shown = server.doc.store
  const torn = shown.pendingStructs !== null || shown.pendingDs !== null
  if (torn) session.counts['never complete']++
  shown.pendingStructs = shown.pendingDs = null
  const even = torn && editors.some(({ kind }) => kind === 14) ? evened(store, plain) : (peer) => peer
  for (const kind of [13, 14]) {
    const fresh = new Peer(kind).apply(store.encode())
    expectEqual('fresh', even(fresh), new Peer(kind).apply(server.state()), session.plan)
  }
  expectEqual('follower', even(session.follower), server, session.plan)
  editors.forEach((editor, at) => {
    if (editor.kind === 13) even(editor.peer)
    expectReturned(session, editor, plain[at], server)
  })
}

/**
 * Yjs 14 takes in what stands behind a hole, and deletes what that overwrites, if it is there by then: whether others ever hear of it
 * is chance, with or without a server. All get the deletions of both worlds.
 */
const evened = (store, plain) => {
  for (const peer of plain) peer.apply(store.encode())
  const state = plain.at(-1).state()
  return (peer) => peer.apply(state)
}

/** Everybody hears everything from everybody, until nothing changes. */
const exchange = (peers) => {
  const clocks = () => peers.map((peer) => peer.clocks()).join()
  for (let before = ''; before !== clocks();) {
    before = clocks()
    for (const one of peers) for (const other of peers) if (one !== other) one.apply(other.state(one.vector()))
  }
  // Once more for deletions: clocks do not show them.
  for (const one of peers) for (const other of peers) if (one !== other) one.apply(other.state(one.vector()))
}

const untilQuiet = (session, random) => {
  for (let before = ''; before !== session.store.clocks();) {
    before = session.store.clocks()
    for (const editor of random.shuffle(session.editors)) session.ask(editor)
    session.everybodyReturns(random)
  }
  for (const editor of session.editors) session.ask(editor)
  session.everybodyReturns(random)
}

/** Yjs 13 shows nothing behind a hole, Yjs 14 does: it is compared where it has none. */
const expectReturned = (session, { peer, name }, plain, server) => {
  if (peer.kind === 13) {
    const [here, there] = [peer, plain].map((one) => one.Y.decodeStateVector(one.vector()))
    const behind = [...there].filter(([client, clock]) => (here.get(client) ?? 0) < clock)
    if (behind.length > 0) throw new Error(`behind: ${name} lacks ${JSON.stringify(behind)} that plain Yjs would have`)
    peer.doc.store.pendingStructs = peer.doc.store.pendingDs = null
    expectContent(session, name, peer, plain)
  } else if (!peer.waits() && !plain.waits()) {
    expectContent(session, name, peer, new Peer(14).apply(plain.state()))
  }
  if (!peer.waits()) expectSame(`${name}: clocks as at the server`, peer.clocks(), server.clocks())
}

const expectContent = (session, name, peer, plain) => {
  const copy = new Peer(peer.kind, { gc: false }).apply(peer.state())
  const itself = copy.view() !== peer.view() ? copy : peer
  expectSame(`${name}: content`, itself.view(), plain.view(), session.plan.halves)
}
