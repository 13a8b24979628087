// Stock Yjs clients of one line, driven by a test: a JSON command per line on stdin, a JSON answer per line on stdout.
import { createHash } from 'node:crypto'
import { createInterface } from 'node:readline'
import WebSocket from 'ws'
import { contentOfUpdate, load } from './lines.mjs'
import { setValues, valuesOf } from './values.mjs'
import { write } from './unusual.mjs'

// Providers talk to the console; stdout is ours.
console.log = console.info = console.error

// One for each provider.
process.setMaxListeners(0)

const line = await load(process.argv[2])
const { Y, Provider } = line
const clients = new Map()

/** Counts what the server sends: [message type, sync type] → how often. */
const countingSocket = (seen) => class extends WebSocket {
  constructor (...args) {
    super(...args)
    seen.sockets++
    seen.socket = this
    const begun = Date.now()
    let opened = false
    this.on('open', () => { seen.opened++; opened = true })
    this.on('close', (code, reason) => {
      seen.closes.push(code)
      seen.reasons.push(String(reason))
      if (opened) seen.ended.push([begun, Date.now()])
    })
    this.on('message', (data) => {
      const bytes = new Uint8Array(data)
      const kind = bytes[0] === 0 ? ['step1', 'step2', 'update'][bytes[1]] : { 1: 'awareness' }[bytes[0]]
      seen.messages[kind ?? 'other'] = (seen.messages[kind ?? 'other'] ?? 0) + 1
      if (kind === 'step2') seen.step2Bytes = bytes.length
    })
  }

  send (data, ...rest) {
    const answers = seen.answer !== undefined && data[0] === 0 && data[1] === 1
    super.send(answers ? seen.answer : data, ...rest)
  }
}

const client = (name) => {
  const found = clients.get(name)
  if (!found) throw new Error(`no client ${name}`)
  return found
}

const each = (names) => names.map((name) => client(name))

/** A small generator, so that a seed repeats a run. */
const generator = (seed) => {
  let state = seed >>> 0
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below)
  }
}

const base64 = (bytes) => Buffer.from(bytes).toString('base64')

const bytesOf = (text) => new Uint8Array(Buffer.from(text, 'base64'))

const digest = (content) => createHash('sha256').update(JSON.stringify(content)).digest('hex')

const turn = () => new Promise((resolve) => setImmediate(resolve))

const status = ({ provider, seen }) => ({
  connected: provider.wsconnected,
  synced: provider.synced,
  sockets: seen.sockets,
  opened: seen.opened,
  closes: seen.closes,
  reasons: seen.reasons,
  ended: seen.ended,
  stopped: provider.shouldConnect === false,
  messages: seen.messages
})

const open = ({ name, url, document, awareness = true, clientId, connect = true, params = {}, shares }) => {
  const seen = { sockets: 0, opened: 0, closes: [], reasons: [], ended: [], messages: {}, socket: null }
  const doc = shares ? client(shares).doc : new Y.Doc()
  if (clientId !== undefined) doc.clientID = clientId
  const options = { WebSocketPolyfill: countingSocket(seen), disableBc: true, connect, params }
  // Providers that share a document share its awareness too.
  if (shares) options.awareness = client(shares).provider.awareness
  const provider = new Provider(url, document, doc, options)
  // Shared awareness is what the first made it: every change would be sent by every provider.
  if (!awareness && !shares) provider.awareness.setLocalState(null)
  clients.set(name, { doc, provider, seen })
}

const verbs = {
  open,
  openMany: ({ names, ...rest }) => { for (const name of names) open({ name, ...rest }) },
  status: ({ name }) => status(client(name)),
  statuses: ({ names }) => each(names).map(status),
  unsynced: ({ names }) => names.filter((name) => !client(name).provider.synced).map((name) => [name, status(client(name))]),
  disconnect: ({ names }) => { for (const { provider } of each(names)) provider.disconnect() },
  connect: ({ names }) => { for (const { provider } of each(names)) provider.connect() },
  /** The network fails: no goodbye; the provider connects again by itself. */
  cut: ({ names }) => { for (const { seen } of each(names)) seen.socket.terminate() },
  /** The process dies: no goodbye, and it does not come back. */
  vanish: ({ names }) => {
    for (const { provider, seen } of each(names)) {
      provider.shouldConnect = false
      seen.socket.terminate()
    }
  },
  destroy: ({ names }) => {
    for (const name of names) {
      client(name).provider.destroy()
      clients.delete(name)
    }
  },
  forgetCounts: ({ names }) => { for (const { seen } of each(names)) seen.messages = {} },
  insert: ({ name, at, text }) => line.insertText(client(name).doc, at, text),
  insertLarge: ({ name, bytes }) => line.insertText(client(name).doc, 0, 'x'.repeat(bytes)),
  remove: ({ name, at, length }) => line.deleteText(client(name).doc, at, length),
  setKey: ({ name, key, value }) => line.setKey(client(name).doc, key, value),
  /** Single characters at random places, some deleted again: each is an edit, as if typed. */
  type: ({ name, edits, seed }) => {
    const random = generator(seed)
    const { doc } = client(name)
    let length = line.text(doc).length
    for (let edit = 0; edit < edits; edit++) {
      if (length > 0 && random(10) < 3) {
        line.deleteText(doc, random(length), 1)
        length--
      } else {
        line.insertText(doc, random(length + 1), String.fromCharCode(97 + random(26)))
        length++
      }
    }
    return length
  },
  /** Edits of every kind by all the clients in turn; the network runs in between. */
  randomEdits: async ({ names, edits, seed }) => {
    const random = generator(seed)
    const all = each(names)
    for (let edit = 0; edit < edits; edit++) {
      line.randomEdit(all[random(all.length)].doc, random)
      if (random(4) === 0) await turn()
    }
  },
  /** Values that are easily changed on their way. */
  setValues: ({ name }) => setValues(client(name).doc),
  values: ({ name }) => valuesOf(client(name).doc),
  /** What is rarely written, and was refused once. */
  write: ({ name, kind, levels }) => write(client(name).doc, kind, levels),
  /** An update that the editor has from elsewhere: its own store, another editor. */
  take: ({ name, update }) => Y.applyUpdate(client(name).doc, bytesOf(update)),
  vector: ({ name }) => base64(Y.encodeStateVector(client(name).doc)),
  /** What the editor has, and somebody with this state vector has not. */
  since: ({ name, vector }) => base64(Y.encodeStateAsUpdate(client(name).doc, bytesOf(vector))),
  /** From now on this frame is the answer, whatever the server asks for. */
  answerWith: ({ name, frame }) => { client(name).seen.answer = bytesOf(frame) },
  text: ({ name }) => line.text(client(name).doc),
  content: ({ name }) => line.content(client(name).doc),
  digests: ({ names }) => each(names).map(({ doc }) => digest(line.content(doc))),
  /** What an independent Yjs 13 makes of this client's document. */
  readBy13: ({ name }) => contentOfUpdate(Y.encodeStateAsUpdate(client(name).doc)),
  /** What an independent Yjs 13 makes of a stored state. */
  decode: ({ update }) => contentOfUpdate(Buffer.from(update, 'base64')),
  decodeDigest: ({ update }) => digest(contentOfUpdate(Buffer.from(update, 'base64'))),
  /** What this line's Yjs makes of a stored state. */
  decodeByLine: ({ update }) => {
    const doc = new Y.Doc()
    Y.applyUpdate(doc, Buffer.from(update, 'base64'))
    return line.content(doc)
  },
  clientId: ({ name }) => client(name).doc.clientID,
  setAwareness: ({ name, state }) => client(name).provider.awareness.setLocalState(state),
  /** From now on it is taken down who goes out of view. */
  watchAwareness: ({ names }) => {
    for (const { provider, seen } of each(names)) {
      seen.gone = []
      provider.awareness.on('change', ({ removed }) => seen.gone.push(...removed))
    }
  },
  gone: ({ names }) => each(names).map(({ seen }) => seen.gone),
  awareness: ({ name }) => Object.fromEntries(client(name).provider.awareness.getStates())
}

// An error in a provider is the test's business, wherever it surfaces.
let lastError = null
process.on('uncaughtException', (error) => { lastError = error })
process.on('unhandledRejection', (error) => { lastError = error })

createInterface({ input: process.stdin }).on('line', async (text) => {
  const { verb, ...args } = JSON.parse(text)
  let answer
  try {
    answer = { ok: (await verbs[verb](args)) ?? null }
    if (lastError) throw lastError
  } catch (error) {
    answer = { error: `${verb}: ${error.stack ?? error}` }
  }
  process.stdout.write(JSON.stringify(answer) + '\n')
}).on('close', () => process.exit(0))
