// How one edits with Yjs 14, and what one reads there. All of its shared types are one; older clients must be able to read what is
// written here, so a type that was a map stays one.
import * as Y from '@y/y'
import { attempt, canonical, items, typesIn, unitsOf } from './view.mjs'
import { key, marks, place, stretch, value, word } from './values.mjs'

const ROOTS = ['text', 'map', 'array', 'xml']

const roots = (doc) => ROOTS.map((name) => doc.get(name))

const shared = (random) => random.chance(0.15)
  ? new Y.Doc({ guid: word(random), meta: random.chance(0.5) ? { title: word(random) } : null })
  : filled(random, 2)

const filled = (random, depth) => {
  const type = new Y.Type(random.pick([null, 'p', 'b']))
  if (random.chance(0.5)) type.setAttr(key(random), word(random))
  if (random.chance(0.5)) type.insert(0, word(random))
  if (depth > 0 && random.chance(0.4)) type.insert(0, [filled(random, depth - 1)])
  return type
}

const attribute = (random) => random.weighted([
  [5, (on) => on.setAttr(key(random), value(random))],
  [3, (on) => on.setAttr(key(random), shared(random))],
  [2, (on) => on.deleteAttr(key(random))]
])

const text = (random, halves) => random.weighted([
  [6, (on, units) => on.insert(place(random, units, halves), word(random), random.chance(0.3) ? marks(random) : undefined)],
  [4, (on, units) => on.delete(...stretch(random, units, halves))],
  [4, (on, units) => on.format(...stretch(random, units, halves), marks(random))],
  [1, (on, units) => on.insert(place(random, units, halves), [filled(random, 1)])]
])

const list = (random, halves) => random.weighted([
  [5, (on, units) => on.insert(place(random, units, halves), Array.from({ length: random.between(1, 4) }, () => value(random)))],
  [3, (on, units) => on.insert(place(random, units, halves), [shared(random)])],
  [4, (on, units) => on.delete(...stretch(random, units, halves))]
])

const element = (random, halves) => random.weighted([
  [5, (on, units) => on.insert(place(random, units, halves), [filled(random, 2)])],
  [3, (on, units) => on.delete(...stretch(random, units, halves))],
  [2, (on) => on.setAttr(key(random), word(random))],
  [2, (on, units) => on.insert(place(random, units, halves), word(random), random.chance(0.3) ? marks(random) : undefined)]
])

/** By the number that older clients know a type by: array, map, text, element, fragment, hook, text in XML. */
const BY_KIND = [list, attribute, text, element, element, element, text]
const BY_ROOT = { text, map: attribute, array: list, xml: element }

export const line14 = {
  name: 'Yjs 14',
  Y,
  roots,
  embed: (text, at, value) => text.insert(at, [value]),
  edit: (doc, random, { halves }) => {
    const name = random.pick(ROOTS)
    const type = random.chance(0.5) ? doc.get(name) : random.pick(typesIn(roots(doc)))
    const root = ROOTS.find((name) => doc.get(name) === type)
    const edit = (root ? BY_ROOT[root] : BY_KIND[type._legacyTypeRef])(random, halves)
    edit(type, unitsOf(type))
  },
  view: (doc) => roots(doc).map((type, at) => [
    `${ROOTS[at]} ${attempt(() => canonical(type.toJSON()))}`, attempt(() => canonical(type.toDeltaDeep().toJSON())),
    attempt(() => JSON.stringify(type.toString()))
  ].join('\n')).join('\n') + '\n' + items(doc),
  deletions: (doc) => {
    const { clients } = Y.createDeleteSetFromStructStore(doc.store)
    const of = ([client, ranges]) => [client, ranges.getIds().map(({ clock, len }) => [clock, len])]
    return canonical(Object.fromEntries([...clients].map(of)))
  }
}
