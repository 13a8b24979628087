// The pipe to the Rust half: a request, then its answer, and nothing happens in between. Lengths are 32 bits, little endian.
import { readSync, writeSync } from 'node:fs'

const STDIN = 0
const STDOUT = 1

/** What the Rust half does; `tests/differential/pipe.rs` has the same list. */
const VERBS = ['next', 'passed', 'failed', 'forget', 'admit', 'vector', 'diff', 'encode', 'compact', 'reload', 'left', 'join', 'merged',
  'yrsOpen', 'yrsApply', 'yrsView', 'yrsEdit', 'yrsState']

const writeAll = (bytes) => {
  for (let at = 0; at < bytes.length;) at += writeSync(STDOUT, bytes, at)
}

let buffer = Buffer.alloc(1 << 16)

/** Reads until `length` bytes are there. The other half never sends more than one answer. */
const readUntil = (length, have) => {
  if (buffer.length < length) buffer = Buffer.concat([buffer, Buffer.alloc(length)])
  while (have < length) {
    const read = readSync(STDIN, buffer, have, buffer.length - have, null)
    if (read === 0) process.exit(0)
    have += read
  }
  return have
}

const receive = () => {
  const have = readUntil(4, 0)
  const length = buffer.readUInt32LE(0)
  readUntil(4 + length, have)
  return Uint8Array.from(buffer.subarray(4, 4 + length))
}

/** What the Rust half found wrong, or the store refused. */
export class Complaint extends Error {}

const NOTHING = new Uint8Array(0)

/** `store` says which of the stores (or documents of yrs) is meant; they exist from the first time that they are named. */
export const ask = (verb, store = 0, payload = NOTHING) => {
  const head = Buffer.alloc(6)
  head.writeUInt32LE(payload.length + 2)
  head[4] = VERBS.indexOf(verb)
  head[5] = store
  writeAll(payload.length < 4096 ? Buffer.concat([head, payload]) : head)
  if (payload.length >= 4096) writeAll(payload)
  const answer = receive()
  if (answer[0] !== 0) throw new Complaint(`${verb} of store ${store}: ${text(answer.subarray(1))}`)
  return answer.subarray(1)
}

export const text = (bytes) => Buffer.from(bytes).toString()

/** Many byte strings in one payload. */
export const unpacked = (bytes) => {
  const list = []
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  for (let at = 0; at < bytes.length;) {
    const length = view.readUInt32LE(at)
    list.push(bytes.subarray(at + 4, at + 4 + length))
    at += 4 + length
  }
  return list
}
