// The Node half of `tests/differential`: one session after another, until there are no more.
import { end } from './ending.mjs'
import { LostSession, endLost } from './lost.mjs'
import { shrunk } from './shrink.mjs'
import { Session } from './session.mjs'
import { failed, forget, next, passed } from './store.mjs'

const KINDS = {
  session: [Session, end],
  lost: [LostSession, endLost],
  plainSession: [Session, end, true],
  plainLost: [LostSession, endLost, true]
}

/** Runs one session; returns it and what went wrong. */
const runner = (kind) => (seed, number, leaveOut) => {
  forget()
  const [Kind, end, plain] = KINDS[kind]
  const session = new Kind(seed, number, leaveOut, plain)
  try {
    session.run()
    end(session, session.random(1 << 21))
    return { session }
  } catch (error) {
    return { session, error }
  }
}

for (let task = next(); task !== null; task = next()) {
  const { kind, seed, number } = task
  const run = runner(kind)
  const { session, error } = run(seed, number)
  if (!error) passed(session.counts)
  else if (session.plainYjsDiffers()) passed({ ...session.counts, 'plain Yjs differs': 1 })
  else failed(shrunk(seed, number, session, error, run))
}
