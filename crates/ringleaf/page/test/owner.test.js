import assert from 'node:assert/strict'
import { test } from 'node:test'
import { another, words } from '../src/owner.js'

test('an owner is named with its epoch once the document was claimed', () => {
  assert.equal(words({ owner: 'n1', in_memory: [] }), 'n1')
  assert.equal(words({ owner: 'n1', in_memory: [{ node: 'n2', epoch: 3 }] }), 'n2 · epoch 3')
  assert.equal(words({ owner: 'n1', in_memory: [{ node: 'n1', epoch: 0 }] }), 'n1')
  assert.equal(words({ owner: 'n1', in_memory: [{ node: 'n1', epoch: 4 }, { node: 'n2', epoch: 3 }] }), 'n1, n2 · epoch 4')
  assert.equal(words({}), '–')
})

test('the next node by name is asked for, and none where there is only one', () => {
  assert.equal(another({ owner: 'n1', candidates: ['n1', 'n3', 'n2'] }), 'n2')
  assert.equal(another({ owner: 'n3', candidates: ['n3', 'n1', 'n2'] }), 'n1')
  assert.equal(another({ owner: 'n1', candidates: ['n1'] }), undefined)
  assert.equal(another({}), undefined)
})
