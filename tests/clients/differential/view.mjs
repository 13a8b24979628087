// What a document says, as text that is equal exactly if the documents are. It works for Yjs 13 and 14: their items are alike.

const CONTENT = { json: 2, binary: 3, string: 4, embed: 5, format: 6, type: 7, any: 8, subdocument: 9 }

/** Text with keys in order, and with what JSON leaves out. */
export const canonical = (value) => {
  if (value === undefined) return 'undefined'
  if (value === null) return 'null'
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value === 'number') return Object.is(value, -0) ? '-0' : String(value)
  if (typeof value === 'string') return JSON.stringify(value)
  if (value instanceof Uint8Array) return `bytes(${value})`
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`
  if (typeof value !== 'object') return String(value)
  if (value.clientID !== undefined) return subdocument(value)
  if (typeof value.toJSON === 'function') return canonical(value.toJSON())
  return `{${Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join()}}`
}

const subdocument = (doc) => `doc(${doc.guid} ${canonical(doc.meta)} ${doc.autoLoad})`

/** Halves of surrogate pairs, and pairs: an editor may have split one without saying so to anybody. */
export const withoutHalves = (view) => view.replace(/\\ud[89a-f][0-9a-f]{2}|[\ud800-\udfff]/g, '\ufffd')

/** Every unit that is there, with its id, in order; with the types in it. */
export const items = (doc) => {
  const names = [...doc.share.keys()].sort()
  return names.map((name) => `${name}: ${ofType(doc.share.get(name))}`).filter((line) => !line.endsWith(': ')).join('\n')
}

const ofType = (type) => {
  const runs = []
  for (let item = type._start; item !== null; item = item.right) if (!item.deleted) add(runs, item)
  const parts = runs.map(({ id, kind, units }) => `${id}${kind}${kind === 's' ? JSON.stringify(units.join('')) : units}`)
  for (const key of [...type._map.keys()].sort()) {
    const item = type._map.get(key)
    const last = []
    if (!item.deleted) add(last, item)
    if (last.length > 0) parts.push(`${key}=${last[0].id}${last[0].units.at(-1)}`)
  }
  return parts.join(' ')
}

/** How items were cut and joined must not show. */
const add = (runs, item) => {
  const { client, clock } = item.id
  const kind = item.content.getRef() === CONTENT.string ? 's' : item.content.getRef()
  const last = runs.at(-1)
  const goesOn = last?.kind === kind && last.client === client && last.end === clock
  const units = shown(item.content)
  if (goesOn) {
    last.units.push(...units)
    last.end += item.length
  } else {
    runs.push({ id: `${client}.${clock}`, client, kind, units, end: clock + item.length })
  }
}

const shown = (content) => {
  switch (content.getRef()) {
    case CONTENT.string: return [content.str]
    case CONTENT.any: return content.arr.map(canonical)
    case CONTENT.json: return content.arr.map(canonical)
    case CONTENT.binary: return [canonical(content.content)]
    case CONTENT.embed: return [canonical(content.embed)]
    case CONTENT.format: return [`${content.key}:${canonical(content.value)}`]
    case CONTENT.type: return [`<${content.type.nodeName ?? content.type.hookName ?? content.type.name ?? ''} ${ofType(content.type)}>`]
    case CONTENT.subdocument: return [subdocument(content.doc)]
    default: throw new Error(`content ${content.getRef()} is not deleted`)
  }
}

/** The units of a list as a string: one that is no text counts as a letter. */
export const unitsOf = (type) => {
  let units = ''
  for (let item = type._start; item !== null; item = item.right) {
    if (item.deleted || !item.countable) continue
    units += item.content.getRef() === CONTENT.string ? item.content.str : '\u0001'.repeat(item.length)
  }
  return units
}

/** All shared types that can be edited, from the roots on. */
export const typesIn = (roots) => {
  const found = [...roots]
  for (let at = 0; at < found.length && found.length < 40; at++) {
    const inMap = [...found[at]._map.values()]
    for (const item of inMap) if (!item.deleted && item.content.type) found.push(item.content.type)
    for (let item = found[at]._start; item !== null; item = item.right) {
      if (!item.deleted && item.content.type) found.push(item.content.type)
    }
  }
  return found
}

/** What a reader throws at is compared, too. */
export const attempt = (read) => {
  try {
    return read()
  } catch (error) {
    return `throws ${error.message}`
  }
}
