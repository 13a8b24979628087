// A session: editors edit, their updates reach the store in every way that a network, a provider or a database can think of, and
// all who read from the store read what they would have read from each other.
import * as Y13 from 'yjs'
import { Peer, LINES, expectEqual, expectSame } from './peer.mjs'
import { seeded } from './random.mjs'
import { GC, Yrs, openStore } from './store.mjs'

/** Numbers of documents of yrs. */
const YRS = { reference: 0, follower: 1, fresh: 2, editor: 3 }

const LAST = 1 << 20

export class Session {
  /** `leaveOut`: numbers of steps that are not taken. */
  constructor (seed, number, leaveOut = new Set(), plain = false) {
    this.random = (step) => seeded(seed, number, step)
    this.leaveOut = leaveOut
    const random = this.random(LAST)
    this.plan = plan(random)
    this.plain = plain
    this.openStore = (number) => openStore(number, plain)
    this.store = this.openStore(0)
    this.log = []
    this.fed = []
    this.inbox = []
    this.originals = []
    this.counts = { updates: 0, messages: 0, receivers: 0, themselves: 0 }
    const { history } = this.plan
    this.references = { 13: new Peer(13, { gc: !history }), 14: new Peer(14), yrs: new Yrs(YRS.reference) }
    this.followers = [new Peer(13, { gc: random.chance(0.8) }), new Peer(14, { gc: random.chance(0.8) })]
    this.yrsFollower = new Yrs(YRS.follower)
    // Who falls behind gets what it missed as one update.
    this.behind = new Peer(13)
    this.partials = [new Peer(13, { gc: random.chance(0.8) }), new Peer(14), new Peer(13)]
    this.editors = this.plan.editors.map((kind, at) => this.open(random, kind, at))
    this.snapshots = []
  }

  open (random, kind, at) {
    const gc = this.plan.gc === 'mixed' ? random.chance(0.5) : this.plan.gc === 'on'
    // Low ids, high ids, and those of Yjs 14, which have 53 bits.
    const client = random.chance(0.3) ? 1 + at : random.below(kind === 13 ? 2 ** 32 : 2 ** 53)
    const peer = kind === 'yrs' ? new Yrs(YRS.editor, client) : new Peer(kind, { client, gc, undo: true })
    return { at, name: `editor ${at} (${kind}, ${client})`, kind, peer, inbox: [], vectors: [], online: true }
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

  /** An editor has changed something. `others` are told at once; the store will be. */
  spread (editor, updates, others = this.plan.net === 'server' ? [] : this.editors) {
    for (const update of updates) {
      this.note(`${editor.name} says`, update)
      this.originals.push(update)
      this.counts.updates++
      for (const reference of Object.values(this.references)) reference.apply(update)
      this.inbox.push(update)
      for (const other of others) if (other !== editor) other.inbox.push(update)
    }
  }

  feed (update) {
    this.note('the store is told', update)
    this.fed.push(update)
    this.counts.messages++
    for (const news of this.store.admit(update)) this.relay(news)
  }

  relay (news) {
    this.note('the store relays', news)
    for (const follower of this.followers) {
      follower.apply(news)
      if (follower.waits()) throw new Error(`incomplete: ${follower.line.name} lacks something that news of the store refer to`)
    }
    this.yrsFollower.apply(news)
    if (this.plan.net !== 'peers') for (const editor of this.editors) if (editor.online) editor.inbox.push(news)
  }

  /** Someone joins now. */
  fresh (kind, what, store = this.store, options) {
    this.counts.receivers++
    const peer = new Peer(kind, options).apply(store.encode())
    if (peer.waits()) throw new Error(`incomplete: ${peer.line.name} lacks something that ${what} refers to`)
    return peer
  }

  expectFresh (what, store = this.store) {
    for (const follower of this.followers) expectEqual(what, this.fresh(follower.kind, what, store), follower, this.plan)
  }

  /** Both ways, as a provider does when it connects. */
  sync (editor) {
    if (editor.kind === 'yrs') {
      editor.peer.apply(this.store.encode())
    } else {
      const { peer } = editor
      const answer = this.store.diff(peer.vector())
      const lacking = peer.state(this.store.vector())
      peer.apply(answer)
      this.feed(lacking)
    }
    editor.inbox.length = 0
    editor.online = true
  }

  /**
   * An editor that came to differ from its own state says nothing about the store. Nor does one that never met it: as it is, Yjs 14
   * loses some of what waits.
   */
  expectEditor (what, editor) {
    if (editor.kind === 'yrs') {
      const expected = this.references.yrs.view()
      return expected.startsWith('broken') || expectSame(`${what}: ${editor.name}`, editor.peer.view(), expected, this.plan.halves)
    }
    const { peer } = editor
    try {
      expectEqual(`${what}: ${editor.name}`, peer, this.references[peer.kind], this.plan)
    } catch (error) {
      if (this.plan.net === 'peers' && peer.kind === 14) return this.counts.themselves++
      const copy = new Peer(peer.kind, { gc: false }).apply(peer.state())
      if (copy.view() === peer.view()) throw error
      expectEqual(`${what}: copy of ${editor.name}`, copy, this.references[peer.kind], this.plan)
      this.counts.themselves++
    }
  }

  /** Whether plain Yjs, given the same messages, differs as well. */
  plainYjsDiffers () {
    return [13, 14].some((kind) => {
      const plain = new Peer(kind)
      for (const update of this.fed) plain.apply(update)
      try {
        expectEqual('plain', plain, this.references[kind], this.plan)
        return false
      } catch {
        return true
      }
    })
  }
}

const plan = (random) => {
  const history = random.chance(0.08)
  const kinds = history ? [13] : random.weighted([[40, [13]], [25, [14]], [25, [13, 14]], [10, [13, 14, 13, 14]]])
  const editors = Array.from({ length: random.between(2, 5) }, () => random.pick(kinds))
  if (!history && random.chance(0.15)) editors[0] = 'yrs'
  return {
    editors,
    history,
    gc: history ? 'off' : random.weighted([[60, 'on'], [25, 'mixed'], [15, 'off']]),
    halves: random.chance(0.3),
    // All write a few letters at a few places, and hear of each other in between.
    crowd: random.chance(0.3),
    // What today's clients only read: hooks in XML, JSON content. Yrs cannot read hooks.
    old: random.chance(0.1),
    net: random.weighted([[40, 'peers'], [40, 'server'], [20, 'both']]),
    // What others make of updates, and states: not where old versions must stay as they were written.
    mangled: !history && random.chance(0.8),
    compaction: history ? [GC.keep] : random.pick([[GC.collect], [GC.collect, GC.keep], [GC.keep]]),
    steps: random.chance(0.03) ? random.between(150, 300) : random.between(10, 60)
  }
}

const edit = (session, random, editor) => {
  session.spread(editor, editor.peer.edit(random, session.plan))
  if (session.plan.crowd && random.chance(0.5)) hearEachOther(session)
}

/** What was said arrives at once, everywhere. */
const hearEachOther = (session) => {
  if (session.plan.net === 'server') session.inbox.splice(0).forEach((update) => session.feed(update))
  for (const { inbox, peer } of session.editors) inbox.splice(0).forEach((update) => peer.apply(update))
}

const undo = (session, random, editor) => {
  if (editor.kind !== 'yrs') session.spread(editor, editor.peer.undoOrRedo(random))
}

/** Those of a store do. What overlaps and waits, Yjs 14 merges, and loses some of it. */
export const inOrder = ({ plan }, { kind }) => plan.net === 'server' || (plan.net === 'both' && kind === 14)

/** Messages of other editors, or of the store, arrive. */
const deliver = (session, random, editor) => {
  const { inbox, peer } = editor
  for (let left = random.between(1, 6); left > 0 && inbox.length > 0; left--) {
    const update = inOrder(session, editor) ? inbox.shift() : random.take(inbox)
    peer.apply(update)
    if (random.chance(0.1)) peer.apply(update)
    const complete = session.plan.net === 'server' && editor.kind !== 'yrs'
    if (complete && peer.waits()) throw new Error(`incomplete: ${editor.name} lacks something`)
  }
  if (session.plan.mangled && editor.kind !== 'yrs' && random.chance(0.3)) {
    for (const update of random.some(peer.relayed, 0.2)) session.feed(update)
  }
  if (editor.kind !== 'yrs') peer.relayed.length = 0
}

const feed = (session, random) => {
  const { inbox, originals, plan } = session
  if (inbox.length === 0) return
  const ways = [
    [6, () => session.feed(random.take(inbox))],
    [2, () => session.feed(inbox.shift())],
    [2, () => { while (inbox.length > 0) session.feed(random.take(inbox)) }],
    [1, () => { const update = random.pick(inbox); session.feed(update); session.feed(update) }],
    [3, () => session.feed(someMerged(session, random))]
  ]
  random.weighted(ways)()
  if (plan.mangled) ofState(session, random, random.pick(session.editors))
}

/** Some updates in one, so with holes; and some that were there before, so overlapping. Yjs 14 loses structs when it merges what
 * overlaps, with or without a server. */
const someMerged = ({ inbox, originals }, random) => {
  const chosen = inbox.splice(0).filter((update) => random.chance(0.5) || !inbox.push(update))
  const apart = random.chance(0.5)
  const list = apart ? chosen : [...chosen, ...random.some(originals, 0.1), random.pick(originals)]
  return LINES[apart ? 14 : 13].Y.mergeUpdates(list.length > 0 ? list : [random.pick(originals)])
}

/** An editor sends all it has, or what it has had since some time. */
const ofState = (session, random, editor) => {
  if (editor.kind === 'yrs') return
  if (random.chance(0.2)) session.feed(editor.peer.state())
  if (random.chance(0.2) && editor.vectors.length > 0) session.feed(editor.peer.state(random.pick(editor.vectors)))
  if (random.chance(0.2)) session.feed(editor.peer.state(session.store.vector()))
  editor.vectors.push(editor.peer.vector())
}

/** Someone asks for what it lacks, or pretends to lack more. */
const answer = (session, random) => {
  const peer = random.pick(session.partials)
  const vector = random.chance(0.5) ? peer.vector() : lowered(random, peer)
  const update = session.store.diff(vector)
  session.note(`${peer.line.name} with ${Array.from(vector)} is answered`, update)
  session.counts.receivers++
  peer.apply(update)
  if (peer.waits()) throw new Error(`incomplete: ${peer.line.name} lacks something that its answer refers to`)
  if (random.chance(0.3)) expectEqual('partial', peer, session.followers.find(({ kind }) => kind === peer.kind), session.plan)
}

const lowered = (random, peer) => {
  const vector = peer.Y.decodeStateVector(peer.vector())
  for (const [client, clock] of vector) {
    if (random.chance(0.3)) vector.delete(client)
    else if (random.chance(0.6)) vector.set(client, outsidePair(peer, client, random.below(clock + 1)))
  }
  // Somebody whom the store has never heard of.
  if (random.chance(0.2)) vector.set(random.below(2 ** 32), random.below(100))
  return Y13.encodeStateVector(vector)
}

/** Yjs splits what it has where an answer begins, if need be within a surrogate pair. No editor ever stops there. */
const outsidePair = (peer, client, clock) => {
  const item = peer.doc.store.clients.get(client).find(({ id, length }) => clock < id.clock + length)
  const unit = item?.content?.str?.charCodeAt(clock - item.id.clock)
  return unit >= 0xdc00 && unit < 0xe000 ? clock - 1 : clock
}

const compact = (session, random) => {
  const gc = random.pick(session.plan.compaction)
  session.note(`the store is compacted, ${gc === GC.keep ? 'deleted content kept' : 'deleted content collected'}`)
  session.store.compact(gc)
  if (random.chance(0.3)) session.expectFresh('compacted')
}

const reload = (session, random) => {
  session.note('the store is loaded again')
  session.store.reload()
  if (random.chance(0.2)) session.expectFresh('reloaded')
}

const comeAndGo = (session, random, editor) => {
  if (session.plan.net === 'peers') return
  if (editor.online && session.plan.net === 'server' && random.chance(0.5)) {
    session.note(`${editor.name} leaves`)
    editor.online = false
    editor.inbox.length = 0
  } else if (session.plan.net === 'server') {
    session.note(`${editor.name} connects`)
    session.sync(editor)
  }
}

const catchUp = (session) => {
  const merged = session.store.merged()
  session.note('who fell behind catches up', merged)
  session.behind.apply(merged)
  if (session.behind.waits()) throw new Error('incomplete: who fell behind lacks something that merged news refer to')
}

const snapshot = (session, random, editor) => {
  if (session.plan.history) session.snapshots.push(Y13.snapshot(editor.peer.doc))
}

const STEPS = [
  [42, edit], [8, undo], [16, deliver], [18, feed], [6, answer], [3, compact], [3, reload], [5, comeAndGo], [3, catchUp], [2, snapshot],
  [1, (session) => session.expectFresh('whole')]
]
