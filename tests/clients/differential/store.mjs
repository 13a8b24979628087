// The store under test and the documents of yrs, both in the Rust half, by their numbers.
import * as Y from 'yjs'
import { ask, text, unpacked } from './wire.mjs'
import { PlainStore, forgetPlain } from './plain.mjs'
import { canonical } from './view.mjs'

/** `Keep`: deleted content stays, for editors with `gc: false`. */
export const GC = { keep: 0, collect: 1 }

class Store {
  constructor (number) { this.number = number }

  /** What is new and complete, of this message and of remainders that waited for it, in the order in which it is relayed. */
  admit (update) { return unpacked(ask('admit', this.number, update)) }

  vector () { return ask('vector', this.number) }

  clocks () { return canonical(Object.fromEntries(Y.decodeStateVector(this.vector()))) }

  diff (vector) { return ask('diff', this.number, vector) }

  encode () { return ask('encode', this.number) }

  compact (gc) { ask('compact', this.number, Uint8Array.of(gc)) }

  /** Writes everything down and loads it again. The Rust half sees to it that it is the same bytes. */
  reload () { ask('reload', this.number) }

  /** What was relayed since this was last asked for, as one update. */
  merged () { return ask('merged', this.number) }

  /** How many remainders wait. */
  left () { return ask('left', this.number)[0] }

  /** Takes in everything that another store holds, remainders too. */
  join (other) { ask('join', this.number, Uint8Array.of(other.number)) }
}

/** A document of yrs. It may be unable to read something: then so must be the one that it is compared with. */
export class Yrs {
  constructor (number, client = 1) {
    this.number = number
    const payload = Buffer.alloc(8)
    payload.writeBigUInt64LE(BigInt(client))
    ask('yrsOpen', number, payload)
  }

  apply (update) {
    ask('yrsApply', this.number, update)
    return this
  }

  view () { return text(ask('yrsView', this.number)) }

  edit (random) { return [ask('yrsEdit', this.number, Uint8Array.of(random.below(256), random.below(256), random.below(256), 0))] }

  state () { return ask('yrsState', this.number) }
}

/** `plain`: plain Yjs stands in its place. */
export const openStore = (number, plain) => plain ? new PlainStore(number) : new Store(number)

export const forget = () => {
  forgetPlain()
  ask('forget')
}

export const passed = (report) => ask('passed', 0, Buffer.from(JSON.stringify(report)))

export const failed = (report) => ask('failed', 0, Buffer.from(report))

/** The next session: its kind and number, and the seed of the run. */
export const next = () => {
  const answer = ask('next')
  return answer.length === 0 ? null : JSON.parse(text(answer))
}
