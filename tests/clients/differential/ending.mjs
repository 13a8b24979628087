// How a session ends: everything has arrived, and everybody has the same. Then it goes on, with editors who never met the store.
import * as Y13 from 'yjs'
import { Peer, LINES, expectEqual, expectSame } from './peer.mjs'
import { inOrder } from './session.mjs'
import { GC, Yrs } from './store.mjs'

const FRESH_YRS = 2

/** How Yjs numbers content of which only the length is left. */
const DELETED = 1

/** Numbers of stores beside the one that the session told everything. */
const STORE = { kept: 2, collected: 3, shuffled: 4, merged: 5, half: 6 }

export const end = (session, random) => {
  arrive(session, random)
  if (session.references.yrs.view().startsWith('broken')) session.counts['yrs cannot read'] = 1
  for (const editor of session.editors) session.expectEditor('editor', editor)
  receivers(session, random)
  compactions(session)
  properties(session, random)
  oldVersions(session)
  goOn(session, random)
}

const arrive = (session, random) => {
  const { store, editors, plan, inbox } = session
  while (inbox.length > 0) session.feed(random.take(inbox))
  if (plan.net === 'server') for (const editor of random.shuffle(editors)) session.sync(editor)
  for (const editor of random.shuffle(editors)) {
    while (editor.inbox.length > 0) editor.peer.apply(inOrder(session, editor) ? editor.inbox.shift() : random.take(editor.inbox))
  }
  if (store.left() !== 0) throw new Error(`remainder: ${store.left()} remainders wait, and everything has arrived`)
  expectSame('state vector of the store', store.clocks(), session.references[13].clocks())
}

const expectAll = (session, what, store) => {
  const { references, plan } = session
  for (const kind of [13, 14]) expectEqual(what, session.fresh(kind, what, store), references[kind], plan)
  session.counts.receivers++
  expectYrs(`${what}: content at yrs`, new Yrs(FRESH_YRS).apply(store.encode()), session)
}

/** What yrs cannot read of the editors' own updates, it need not read here. */
const expectYrs = (what, peer, { references, plan }) => {
  const expected = references.yrs.view()
  if (!expected.startsWith('broken')) expectSame(what, peer.view(), expected, plan.halves)
}

const receivers = (session, random) => {
  const { references, followers, partials, store, plan } = session
  expectAll(session, 'fresh', store)
  expectEqual('fresh, gc off', session.fresh(13, 'fresh', store, { gc: false }), references[13], plan)
  for (const follower of followers) expectEqual('follower', follower, references[follower.kind], plan)
  expectYrs('follower: content at yrs', session.yrsFollower, session)
  expectEqual('who fell behind', session.behind.apply(store.merged()), references[13], plan)
  for (const partial of partials) expectEqual('partial', partial.apply(store.diff(partial.vector())), references[partial.kind], plan)
  // Whoever has everything lacks at most deletions.
  const full = references[13].vector()
  expectEqual('nothing lacking', new Peer(13).apply(store.diff(full)).apply(references[13].state()), references[13], plan)
  if (random.chance(0.3)) expectEqual('v2', throughV2(store.encode()), references[13], plan)
}

/** What is stored is readable for tools that convert it. */
const throughV2 = (update) => {
  const peer = new Peer(13)
  Y13.applyUpdateV2(peer.doc, Y13.convertUpdateFormatV1ToV2(update))
  return peer
}

/** Deleted content is really gone, and so is what lies within deleted types. */
const expectCollected = (update) => {
  const { structs, ds } = Y13.decodeUpdate(update)
  const deleted = ({ client, clock }, length) => {
    const ranges = ds.clients.get(client) ?? []
    return ranges.some((range) => range.clock < clock + length && clock < range.clock + range.len)
  }
  for (const { id, length, content, parent } of structs) {
    if (!content) continue
    const left = content.getRef() !== DELETED && deleted(id, length)
    const within = parent instanceof Y13.ID && deleted(parent, 1)
    if (left || within) throw new Error(`collected: ${id.client} at ${id.clock} is ${left ? 'deleted' : 'in a deleted type'}, and still there`)
  }
}

const compactions = (session) => {
  for (const [number, gc] of [[STORE.kept, GC.keep], [STORE.collected, GC.collect]]) {
    const copy = session.openStore(number)
    copy.join(session.store)
    copy.compact(gc)
    const what = gc === GC.keep ? 'compacted, content kept' : 'compacted, content collected'
    expectAll(session, what, copy)
    if (gc === GC.collect) {
      const update = copy.encode()
      session.counts['bytes collected'] = update.length
      session.counts['bytes at Yjs'] = new Peer(13).apply(session.references[13].state()).state().length
      if (!session.plain) expectCollected(update)
    }
    copy.reload()
    expectSame(`${what}: state vector`, copy.clocks(), session.store.clocks())
    copy.join(session.store)
    copy.compact(gc)
    expectEqual(`${what} again`, session.fresh(13, what, copy), session.references[13], session.plan)
  }
}

/** The same messages in another order, in other groups, twice. */
const properties = (session, random) => {
  const { fed, store } = session
  const shuffled = session.openStore(STORE.shuffled)
  for (const update of random.shuffle(fed)) shuffled.admit(update)
  expectSameStore(session, 'commutative', shuffled)
  for (const again of [store, shuffled]) {
    for (const update of [...random.some(fed, 0.5), again.encode()]) {
      if (again.admit(update).length > 0) throw new Error('idempotent: an update brought something new once more')
    }
  }
  const merged = session.openStore(STORE.merged)
  const rest = random.shuffle(fed)
  while (rest.length > 0) merged.admit(Y13.mergeUpdates(rest.splice(0, random.between(1, 4))))
  expectSameStore(session, 'merged', merged)
  const [one, other] = [session.openStore(STORE.half), session.openStore(STORE.half + 1)]
  for (const update of fed) random.pick([one, other]).admit(update)
  other.compact(GC.collect)
  one.join(other)
  expectSameStore(session, 'associative', one)
}

const expectSameStore = (session, what, store) => {
  if (store.left() !== 0) throw new Error(`${what}: ${store.left()} remainders wait`)
  expectSame(`${what}: state vector of the store`, store.clocks(), session.store.clocks())
  for (const kind of [13, 14]) expectEqual(what, session.fresh(kind, what, store), session.references[kind], session.plan)
}

/** An editor that keeps deleted content can still read its old versions. */
const oldVersions = (session) => {
  if (session.snapshots.length === 0) return
  const fresh = session.fresh(13, 'old versions', session.store, { gc: false })
  const view = (peer, snapshot) => LINES[13].view(Y13.createDocFromSnapshot(peer.doc, snapshot))
  for (const snapshot of session.snapshots) {
    expectSame('old version', view(fresh, snapshot), view(session.references[13], snapshot), session.plan.halves)
  }
}

/** In any order, but for Yjs 14: see `inOrder`. */
const hear = (random, { kind, inbox, peer }) => {
  const updates = inbox.splice(0)
  for (const update of kind === 14 ? updates : random.shuffle(updates)) peer.apply(update)
}

const goOn = (session, random) => {
  const { store, editors, plan, references } = session
  store.compact(random.pick(plan.compaction))
  const newcomer = (what, kind, source) => {
    const peer = new Peer(kind, { client: random.below(2 ** 31), gc: random.chance(0.7), undo: true }).apply(source)
    return { name: `${what} (${kind})`, kind, peer, inbox: [], online: true }
  }
  const kinds = plan.history ? [13, 13] : random.pick([[13, 14], [14, 13], [13, 13]])
  const joined = newcomer('who joined late', kinds[0], store.encode())
  const outsider = newcomer('who never met the store', kinds[1], references[kinds[1]].state())
  const everybody = [joined, outsider, ...random.some(editors.filter(({ kind }) => kind !== 'yrs'), 0.6)]
  for (let round = random.between(1, 3); round > 0; round--) {
    for (const editor of everybody) {
      for (let left = random.between(0, 2); left > 0; left--) {
        const { peer } = editor
        session.spread(editor, random.chance(0.35) ? peer.undoOrRedo(random) : peer.edit(random, plan), everybody)
      }
    }
    for (const editor of random.shuffle(everybody)) hear(random, editor)
  }
  session.inbox.splice(0).forEach((update) => session.feed(update))
  for (const editor of everybody) {
    hear(random, editor)
    session.expectEditor('went on', editor)
  }
  if (store.left() !== 0) throw new Error('went on: remainders wait, and everything has arrived')
  expectAll(session, 'went on', store)
  for (const follower of session.followers) expectEqual('follower went on', follower, references[follower.kind], plan)
}
