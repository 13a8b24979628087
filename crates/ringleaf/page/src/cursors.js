// Other people's cursors and selections. Colors are classes, so that no inline style is needed.
import { Annotation, RangeSet } from '@codemirror/state'
import { Decoration, EditorView, ViewPlugin, WidgetType } from '@codemirror/view'
import * as Y from 'yjs'
import { hueOf, nameOf } from './me.js'

const moved = Annotation.define()

class Caret extends WidgetType {
  constructor (name, hue, below, place) {
    super()
    Object.assign(this, { name, hue, below, place })
  }

  // A caret that has moved is a new one, so that its name is shown again for a while.
  eq (other) {
    return other.name === this.name && other.hue === this.hue && other.below === this.below && other.place === this.place
  }

  toDOM () {
    const caret = document.createElement('span')
    caret.className = `caret hue-${this.hue}${this.below ? ' below' : ''}`
    caret.setAttribute('aria-hidden', 'true')
    const label = document.createElement('span')
    label.className = 'caret-name'
    label.textContent = this.name
    // Word joiners on both sides keep the line from breaking here.
    caret.append('\u2060', label, '\u2060')
    return caret
  }

  ignoreEvent () {
    return true
  }
}

const position = (json, doc) => (json == null ? null : Y.createAbsolutePositionFromRelativePosition(Y.createRelativePositionFromJSON(json), doc))

/** Where someone is in the text, or null. */
export const whereIs = (state, text) => {
  try {
    const anchor = position(state?.cursor?.anchor, text.doc)
    const head = position(state?.cursor?.head, text.doc)
    return anchor?.type === text && head?.type === text ? { anchor: anchor.index, head: head.index } : null
  } catch {
    // What others say about themselves need not make sense.
    return null
  }
}

export const cursors = (text, awareness) => {
  const publish = (view) => {
    const local = awareness.getLocalState()
    if (local === null || !view.hasFocus) return
    const { anchor, head } = view.state.selection.main
    // Bound to the character before it: what others append there comes after our caret.
    const cursor = {
      anchor: Y.createRelativePositionFromTypeIndex(text, anchor, -1),
      head: Y.createRelativePositionFromTypeIndex(text, head, -1)
    }
    if (JSON.stringify(local.cursor) !== JSON.stringify(cursor)) awareness.setLocalStateField('cursor', cursor)
  }

  const draw = ({ state }) => {
    const decorations = []
    for (const [clientId, theirs] of awareness.getStates()) {
      const place = clientId === text.doc.clientID ? null : whereIs(theirs, text)
      if (place === null) continue
      const hue = hueOf(clientId, theirs.user)
      const end = state.doc.length
      const from = Math.min(place.anchor, place.head, end)
      const to = Math.min(Math.max(place.anchor, place.head), end)
      if (from < to) decorations.push(Decoration.mark({ class: `selection hue-${hue}` }).range(from, to))
      const head = Math.min(place.head, end)
      const below = state.doc.lineAt(head).number === 1
      const widget = new Caret(nameOf(theirs.user), hue, below, `${clientId} ${JSON.stringify(theirs.cursor)}`)
      decorations.push(Decoration.widget({ widget, side: place.head > place.anchor ? -1 : 1 }).range(head))
    }
    return RangeSet.of(decorations, true)
  }

  return ViewPlugin.define((view) => {
    const redraw = ({ added, updated, removed }) => {
      const others = [...added, ...updated, ...removed].some((clientId) => clientId !== text.doc.clientID)
      if (others) view.dispatch({ annotations: moved.of(true) })
    }
    awareness.on('change', redraw)
    return {
      decorations: draw(view),
      update (update) {
        if (update.docChanged || update.selectionSet || update.focusChanged) publish(update.view)
        this.decorations = draw(update.view)
      },
      destroy: () => awareness.off('change', redraw)
    }
  }, { decorations: (plugin) => plugin.decorations, provide: () => EditorView.contentAttributes.of({ 'aria-label': 'Shared text' }) })
}
