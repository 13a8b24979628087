// The lines of stock clients, each with the Yjs that it needs, behind one set of verbs.
import * as Yjs13 from 'yjs'

const provider = async (name) => (await import(name)).WebsocketProvider

/** What differs between the lines: the provider, its Yjs, and how one edits with that Yjs. */
export const load = async (line) => {
  switch (line) {
    case 'y-websocket-1':
    case 'y-websocket-2':
    case 'y-websocket-3.0':
    case 'y-websocket-3.1':
      return { Provider: await provider(line), ...yjs13 }
    case '@y/websocket-4':
      return { Provider: await provider(line), ...(await yjs14()) }
    default:
      throw new Error(`unknown line ${line}`)
  }
}

export const sorted = (value) => {
  if (Array.isArray(value)) return value.map(sorted)
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(Object.keys(value).sort().map((key) => [key, sorted(value[key])]))
}

/** Everything that a reader of Yjs 13 sees in a document. */
export const contentOf13 = (doc) => sorted({
  text: doc.getText('text').toDelta(),
  map: doc.getMap('map').toJSON(),
  array: doc.getArray('array').toJSON(),
  xml: doc.getXmlFragment('xml').toString()
})

export const contentOfUpdate = (update) => {
  const doc = new Yjs13.Doc()
  Yjs13.applyUpdate(doc, update)
  if (doc.store.pendingStructs !== null || doc.store.pendingDs !== null) {
    throw new Error('the update lacks something that it refers to')
  }
  return contentOf13(doc)
}

const word = (random) => Array.from({ length: 1 + random(8) }, () => String.fromCharCode(97 + random(26))).join('')

const value = (random) => [random(1000), word(random), random(2) === 0, null, { [word(random)]: [random(9), word(random)], [word(random)]: random(1e9) / 7, [word(random)]: {} }][random(5)]

const yjs13 = {
  Y: Yjs13,
  content: contentOf13,
  insertText: (doc, at, text) => doc.getText('text').insert(at, text),
  deleteText: (doc, at, length) => doc.getText('text').delete(at, length),
  text: (doc) => doc.getText('text').toString(),
  setKey: (doc, key, value) => doc.getMap('map').set(key, value),
  randomEdit: (doc, random) => {
    const text = doc.getText('text')
    const map = doc.getMap('map')
    const array = doc.getArray('array')
    const xml = doc.getXmlFragment('xml')
    const within = (length) => random(length + 1)
    const edits = [
      () => text.insert(within(text.length), word(random)),
      () => { if (text.length > 0) { const at = random(text.length); text.delete(at, Math.min(1 + random(4), text.length - at)) } },
      () => { if (text.length > 1) { const at = random(text.length - 1); text.format(at, 1, { bold: random(2) === 0 ? true : null }) } },
      () => map.set(word(random)[0], value(random)),
      () => map.delete(word(random)[0]),
      () => map.set('nested' + random(3), new Yjs13.Map([[word(random), random(10)]])),
      () => array.insert(within(array.length), [value(random), value(random)]),
      () => { if (array.length > 0) array.delete(random(array.length), 1) },
      () => {
        const element = new Yjs13.XmlElement('p')
        element.setAttribute('class', word(random))
        element.insert(0, [new Yjs13.XmlText(word(random))])
        xml.insert(within(xml.length), [element])
      },
      () => {
        const parent = xml.length > 0 ? xml.get(random(xml.length)) : null
        if (parent instanceof Yjs13.XmlElement) parent.insert(parent.length, [new Yjs13.XmlElement('b')])
      },
      () => { if (xml.length > 3) xml.delete(random(xml.length), 1) }
    ]
    edits[random(edits.length)]()
  }
}

const yjs14 = async () => {
  const Y = await import('@y/y')
  const type = (doc, name) => doc.get(name)
  return {
    Y,
    content: (doc) => sorted(Object.fromEntries(['text', 'map', 'array', 'xml'].map((name) => [name, type(doc, name).toJSON()]))),
    insertText: (doc, at, text) => type(doc, 'text').insert(at, text),
    deleteText: (doc, at, length) => type(doc, 'text').delete(at, length),
    text: (doc) => type(doc, 'text').toString(),
    setKey: (doc, key, value) => type(doc, 'map').setAttr(key, value),
    randomEdit: (doc, random) => {
      const [text, map, array, xml] = ['text', 'map', 'array', 'xml'].map((name) => type(doc, name))
      const within = (length) => random(length + 1)
      const edits = [
        () => text.insert(within(text.length), word(random)),
        () => { if (text.length > 0) text.delete(random(text.length), 1) },
        () => { if (text.length > 1) text.format(random(text.length - 1), 1, { bold: random(2) === 0 ? true : null }) },
        () => map.setAttr(word(random)[0], value(random)),
        () => map.deleteAttr(word(random)[0]),
        () => array.insert(within(array.length), [value(random), value(random)]),
        () => { if (array.length > 0) array.delete(random(array.length), 1) },
        () => {
          const element = new Y.Type('p')
          xml.insert(within(xml.length), [element])
          element.setAttr('class', word(random))
          element.insert(0, word(random))
        },
        () => { if (xml.length > 3) xml.delete(random(xml.length), 1) }
      ]
      edits[random(edits.length)]()
    }
  }
}
