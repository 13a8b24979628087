import assert from 'node:assert/strict'
import test from 'node:test'
import * as Y from 'yjs'
import { Saved } from '../src/saved.js'

/** An author whose edits are tracked, and the updates that they made. */
const author = (clientId = 1) => {
  const doc = new Y.Doc()
  doc.clientID = clientId
  let time = 0
  const saved = new Saved(clientId, () => time++)
  const updates = []
  doc.on('update', (update, origin, _doc, transaction) => {
    if (!transaction.local) return
    updates.push(update)
    saved.edited(update)
  })
  return { doc, text: doc.getText('text'), saved, updates }
}

test('an edit is saved when it comes back, and not before', () => {
  const { text, saved, updates } = author()
  text.insert(0, 'a')
  text.insert(1, 'b')
  assert.equal(saved.unsaved, 2)
  saved.heardUpdate(updates[0])
  assert.equal(saved.unsaved, 1)
  saved.heardUpdate(updates[1])
  assert.equal(saved.unsaved, 0)
  assert.ok(saved.took > 0)
})

test('edits that come back merged are saved', () => {
  const { text, saved, updates } = author()
  for (const letter of 'hello') text.insert(0, letter)
  text.delete(1, 2)
  saved.heardUpdate(Y.mergeUpdates(updates))
  assert.equal(saved.unsaved, 0)
})

test('a deletion is saved when all of it came back', () => {
  const { text, saved, updates } = author()
  text.insert(0, 'hello')
  saved.heardUpdate(updates[0])
  text.delete(1, 3)
  const other = new Y.Doc()
  Y.applyUpdate(other, updates[0])
  other.getText('text').delete(1, 1)
  saved.heardUpdate(Y.encodeStateAsUpdate(other))
  assert.equal(saved.unsaved, 1, 'somebody else deleted a part of it')
  saved.heardUpdate(updates[1])
  assert.equal(saved.unsaved, 0)
})

test('what others write saves nothing of ours', () => {
  const { text, saved } = author()
  const other = author(2)
  text.insert(0, 'mine')
  other.text.insert(0, 'theirs')
  saved.heardUpdate(other.updates[0])
  saved.heardStateVector(Y.encodeStateVector(other.doc))
  assert.equal(saved.unsaved, 1)
})

test('after a reconnect the state vector saves insertions, the answer saves deletions', () => {
  const { doc, text, saved } = author()
  text.insert(0, 'hello')
  text.delete(0, 1)
  saved.heardStateVector(Y.encodeStateVector(doc))
  assert.equal(saved.unsaved, 1)
  saved.heardUpdate(Y.encodeStateAsUpdate(doc, Y.encodeStateVector(doc)))
  assert.equal(saved.unsaved, 0)
})
