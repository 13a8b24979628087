// What editors rarely write with Yjs 13, and what servers are tempted to refuse.
import * as Y from 'yjs'

/** `levels` arrays within each other. */
const nested = (levels) => {
  let value = 1
  for (let level = 0; level < levels; level++) value = [value]
  return value
}

const kinds = {
  hook: (doc) => doc.getXmlFragment('xml').insert(0, [new Y.XmlHook('hook')]),
  types: (doc, levels) => {
    // One after the other: Yjs overflows its stack when it takes up many levels at once.
    doc.transact(() => {
      let innermost = doc.getXmlFragment('xml')
      for (let level = 0; level < levels; level++) {
        const next = new Y.XmlElement('b')
        innermost.insert(0, [next])
        innermost = next
      }
    })
  },
  value: (doc, levels) => doc.getMap('map').set('deep', nested(levels)),
  attribute: (doc, levels) => doc.getText('text').insert(0, '!', { deep: nested(levels) })
}

export const write = (doc, kind, levels) => { kinds[kind](doc, levels) }
