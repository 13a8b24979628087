// How one edits with Yjs 13, and what one reads there.
import * as Y from 'yjs'
import { attempt, canonical, items, typesIn, unitsOf } from './view.mjs'
import { jsonValue, key, marks, place, stretch, value, word } from './values.mjs'

const roots = (doc) => [doc.getText('text'), doc.getMap('map'), doc.getArray('array'), doc.getXmlFragment('xml')]

/** A new shared type with something in it, or a subdocument. */
const shared = (random, depth = 2) => random.weighted([
  [3, () => new Y.Map([[key(random), inner(random, depth)], [key(random), value(random)]])],
  [3, () => Y.Array.from([inArray(random), depth > 0 ? shared(random, depth - 1) : inArray(random)])],
  [3, () => new Y.Text(word(random))],
  [1, () => xml(random, depth)],
  [1, () => new Y.Doc({ guid: word(random), meta: random.chance(0.5) ? { title: word(random) } : null, autoLoad: random.chance(0.2) })]
])()

/** Its arrays take neither big integers nor `undefined`, unless they are within something. */
const inArray = (random) => {
  const made = value(random)
  return typeof made === 'bigint' || made === undefined ? [made] : made
}

const inner = (random, depth) => depth > 0 && random.chance(0.4) ? shared(random, depth - 1) : value(random)

const xml = (random, depth = 2) => random.weighted([
  [4, () => {
    const element = new Y.XmlElement(random.pick(['p', 'b', 'img']))
    if (random.chance(0.5)) element.setAttribute(key(random), word(random))
    if (depth > 0) element.insert(0, Array.from({ length: random.below(3) }, () => xml(random, depth - 1)))
    return element
  }],
  [4, () => new Y.XmlText(word(random))],
])()

/** JSON content, as clients wrote it before 2020. */
const insertOldJson = (array, random) => Y.transact(array.doc, (transaction) => {
  let last = array._start
  while (last?.right) last = last.right
  const { doc } = array
  const id = Y.createID(doc.clientID, Y.getState(doc.store, doc.clientID))
  const content = new Y.ContentJSON(Array.from({ length: random.between(1, 3) }, () => jsonValue(random)))
  new Y.Item(id, last, last && last.lastId, null, null, array, null, content).integrate(transaction, 0)
})

const embedded = (random) => random.weighted([
  [2, () => ({ image: word(random), n: random.below(9) })],
  [1, () => new Y.Map([[key(random), value(random)]])],
  [1, () => new Y.XmlElement('p')]
])()

const text = (random, halves) => random.weighted([
  [6, (on, units) => on.insert(place(random, units, halves), word(random), random.chance(0.3) ? marks(random) : undefined)],
  [4, (on, units) => on.delete(...stretch(random, units, halves))],
  [4, (on, units) => on.format(...stretch(random, units, halves), marks(random))],
  [2, (on, units) => on.insertEmbed(place(random, units, halves), embedded(random), random.chance(0.3) ? marks(random) : {})]
])

const array = (random, halves, old) => random.weighted([
  [5, (on, units) => on.insert(place(random, units, halves), Array.from({ length: random.between(1, 4) }, () => inArray(random)))],
  [3, (on, units) => on.insert(place(random, units, halves), [shared(random)])],
  [4, (on, units) => on.delete(...stretch(random, units, halves))],
  [old ? 1 : 0, (on) => insertOldJson(on, random)]
])

const map = (random) => random.weighted([
  [5, (on) => on.set(key(random), value(random))],
  [3, (on) => on.set(key(random), shared(random))],
  [2, (on) => on.delete(key(random))]
])

const fragment = (random, halves, old) => random.weighted([
  [old ? 1 : 0, (on, units) => on.insert(place(random, units, halves), [new Y.XmlHook('hook')])],
  [5, (on, units) => on.insert(place(random, units, halves), [xml(random)])],
  [3, (on, units) => on.delete(...stretch(random, units, halves))]
])

const element = (random, halves, old) => random.chance(0.6)
  ? fragment(random, halves, old)
  : random.weighted([[3, (on) => on.setAttribute(key(random), word(random))], [1, (on) => on.removeAttribute(key(random))]])

const editOf = (type, random, { halves, old }) => {
  if (type instanceof Y.Text) return text(random, halves)
  if (type instanceof Y.Array) return array(random, halves, old)
  if (type instanceof Y.Map) return map(random)
  if (type instanceof Y.XmlElement) return element(random, halves, old)
  return fragment(random, halves, old)
}

export const line13 = {
  name: 'Yjs 13',
  Y,
  roots,
  embed: (text, at, value) => text.insertEmbed(at, value),
  /** One change at a random place. */
  edit: (doc, random, options) => {
    const type = random.chance(0.5) ? random.pick(roots(doc)) : random.pick(typesIn(roots(doc)))
    editOf(type, random, options)(type, unitsOf(type))
  },
  view: (doc) => {
    const [text, map, array, xml] = roots(doc)
    return [
      `delta ${attempt(() => canonical(text.toDelta()))}`, `map ${attempt(() => canonical(map.toJSON()))}`,
      `array ${attempt(() => canonical(array.toJSON()))}`, `xml ${attempt(() => JSON.stringify(xml.toString()))}`, items(doc)
    ].join('\n')
  },
  deletions: (doc) => {
    const { clients } = Y.createDeleteSetFromStructStore(doc.store)
    const of = ([client, ranges]) => [client, ranges.map(({ clock, len }) => [clock, len])]
    return canonical(Object.fromEntries([...clients].map(of)))
  }
}
