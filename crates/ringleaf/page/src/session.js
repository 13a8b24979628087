// The document, its connection, and what can honestly be said about both.
import * as Y from 'yjs'
import * as decoding from 'lib0/decoding'
import * as encoding from 'lib0/encoding'
import * as sync from 'y-protocols/sync'
import { WebsocketProvider } from 'y-websocket'
import { Saved } from './saved.js'

const MESSAGE_SYNC = 0
const PROBE_INTERVAL = 4000

export class Session extends EventTarget {
  constructor (name) {
    super()
    this.name = name
    this.doc = new Y.Doc()
    this.text = this.doc.getText('text')
    this.saved = new Saved(this.doc.clientID)
    this.everSynced = false
    this.roundTrip = null
    /** When we asked something to see how long the answer takes. */
    this.askedAt = null
    this.provider = this.#connect()
    this.awareness = this.provider.awareness
    this.doc.on('update', (update, _origin, _doc, transaction) => {
      if (!transaction.local) return
      this.saved.edited(update)
      this.#changed()
    })
    this.provider.on('status', () => {
      this.askedAt = null
      this.#changed()
    })
    this.provider.on('sync', (synced) => {
      this.everSynced ||= synced
      this.#changed()
      this.#probe()
    })
    setInterval(() => this.#probe(), PROBE_INTERVAL)
  }

  #connect () {
    const server = `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}`
    const room = this.name.split('/').map(encodeURIComponent).join('/')
    // Tabs that talk to each other directly would make the plug a lie.
    const provider = new WebsocketProvider(server, room, this.doc, { disableBc: true })
    const readSync = provider.messageHandlers[MESSAGE_SYNC]
    provider.messageHandlers[MESSAGE_SYNC] = (encoder, decoder, ...rest) => {
      const frame = decoding.createDecoder(decoder.arr)
      frame.pos = decoder.pos
      readSync(encoder, decoder, ...rest)
      this.#heard(decoding.readVarUint(frame), decoding.readVarUint8Array(frame))
    }
    return provider
  }

  #heard (kind, body) {
    if (kind === sync.messageYjsSyncStep1) {
      this.saved.heardStateVector(body)
    } else {
      this.saved.heardUpdate(body)
    }
    if (kind === sync.messageYjsSyncStep2 && this.askedAt !== null) {
      this.roundTrip = performance.now() - this.askedAt
      this.askedAt = null
    }
    this.#changed()
  }

  /** Asks what we lack, which is nothing: the shortest question that the server answers. */
  #probe () {
    const { ws, synced } = this.provider
    if (!synced || ws === null || this.askedAt !== null || document.hidden) return
    const encoder = encoding.createEncoder()
    encoding.writeVarUint(encoder, MESSAGE_SYNC)
    sync.writeSyncStep1(encoder, this.doc)
    ws.send(encoding.toUint8Array(encoder))
    this.askedAt = performance.now()
  }

  #changed () {
    this.dispatchEvent(new Event('change'))
  }

  get plugged () {
    return this.provider.shouldConnect
  }

  set plugged (plugged) {
    if (plugged) this.provider.connect()
    else this.provider.disconnect()
    this.#changed()
  }

  /** One of: opening, saved, saving, offline. */
  get state () {
    const { synced, wsUnsuccessfulReconnects } = this.provider
    if (synced) return this.saved.unsaved > 0 ? 'saving' : 'saved'
    return this.plugged && !this.everSynced && wsUnsuccessfulReconnects === 0 ? 'opening' : 'offline'
  }
}
