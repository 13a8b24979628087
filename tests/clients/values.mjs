// Values that programs between two editors like to change: everything that Yjs 13 can hold beyond plain text.
import * as Y from 'yjs'

const nested = (depth) => depth === 0 ? 'innermost' : { in: nested(depth - 1) }

const half = 'smile 😀'.slice(0, 7)

const link = (number) => ({ link: { href: `https://example.org/${number}`, target: '_blank', rel: 'noopener', class: null, title: half } })

export const setValues = (doc) => {
  const map = doc.getMap('values')
  map.set('big', 9223372036854775807n)
  map.set('small', 10n)
  map.set('minus zero', -0)
  map.set('object', { z: 1, y: [2.5, { x: undefined, w: new Uint8Array([1, 2]) }], a: 2 ** 40, b: 3n, c: NaN })
  map.set('subdocument', new Y.Doc({ guid: 'g', meta: { title: 'chapter 1', author: 'ann' } }))
  map.set('looks like a stand-in', [new Uint8Array([0x72, 0x6c, 0, 1, 0x7e]), '\u{f8f0}j'])
  const text = doc.getText('marked')
  for (let number = 0; number < 40; number++) text.insert(0, `word ${number} `, link(number))
  text.insertEmbed(0, { src: 'a.png', alt: half, width: 12345678901234567000, deep: nested(200) })
  text.insertEmbed(0, '\u{f8f0}d00')
}

/** JSON that tells apart what JSON does not. */
const told = (value) => {
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value === 'number' && !Number.isFinite(value)) return String(value)
  if (Object.is(value, -0)) return '-0'
  if (value === undefined) return 'undefined'
  if (value instanceof Uint8Array) return `bytes ${value}`
  if (value instanceof Y.Doc) return { guid: value.guid, meta: told(value.meta) }
  if (Array.isArray(value)) return value.map(told)
  if (value === null || typeof value !== 'object') return value
  // In the order in which the members are: it is the editor's.
  return Object.entries(value).map(([key, of]) => [key, told(of)])
}

export const valuesOf = (doc) => JSON.stringify([
  Array.from(doc.getMap('values').entries()).sort().map(([key, value]) => [key, told(value)]),
  told(doc.getText('marked').toDelta())
])
