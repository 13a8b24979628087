// The editor: CodeMirror with Markdown that looks like what it means.
import { defaultKeymap, indentWithTab } from '@codemirror/commands'
import { markdown, markdownLanguage } from '@codemirror/lang-markdown'
import { HighlightStyle, syntaxHighlighting } from '@codemirror/language'
import { EditorState } from '@codemirror/state'
import { drawSelection, dropCursor, EditorView, highlightSpecialChars, keymap, placeholder } from '@codemirror/view'
import { tags } from '@lezer/highlight'
import { yCollab, yUndoManagerKeymap } from 'y-codemirror.next'
import * as Y from 'yjs'
import { cursors } from './cursors.js'

const looks = HighlightStyle.define([
  { tag: tags.heading1, class: 'md-heading md-heading-1' },
  { tag: tags.heading2, class: 'md-heading md-heading-2' },
  { tag: tags.heading, class: 'md-heading' },
  { tag: tags.strong, class: 'md-strong' },
  { tag: tags.emphasis, class: 'md-emphasis' },
  { tag: tags.strikethrough, class: 'md-strikethrough' },
  { tag: [tags.link, tags.url], class: 'md-link' },
  { tag: tags.monospace, class: 'md-code' },
  { tag: tags.quote, class: 'md-quote' },
  { tag: [tags.processingInstruction, tags.contentSeparator, tags.meta], class: 'md-mark' }
])

const INVITATION = 'Write something. Then open this page in a second window, or send someone the link.'

export const openEditor = (parent, session) => {
  const undoManager = new Y.UndoManager(session.text)
  const extensions = [
    // Ours come first: undo takes back our own edits only.
    keymap.of([...yUndoManagerKeymap, indentWithTab, ...defaultKeymap]),
    highlightSpecialChars(),
    drawSelection(),
    dropCursor(),
    EditorView.lineWrapping,
    EditorState.allowMultipleSelections.of(false),
    markdown({ base: markdownLanguage, addKeymap: true }),
    syntaxHighlighting(looks),
    placeholder(INVITATION),
    yCollab(session.text, null, { undoManager }),
    cursors(session.text, session.awareness)
  ]
  const state = EditorState.create({ doc: session.text.toString(), extensions })
  const view = new EditorView({ state, parent })
  view.focus()
  return view
}
