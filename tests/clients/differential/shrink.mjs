// Makes a failing session small: steps are left out as long as it fails.

const MILLISECONDS_MAX = 20_000

const BYTES_MAX = 600

const hex = (bytes) => {
  const text = Buffer.from(bytes).toString('hex')
  return text.length > BYTES_MAX ? `${text.slice(0, BYTES_MAX)}… (${bytes.length} bytes)` : text
}

const LINES_MAX = 120

const story = ({ log }) => {
  const lines = log.map(([what, bytes]) => bytes ? `  ${what}: ${hex(bytes)}` : `  ${what}`)
  return lines.length <= LINES_MAX ? lines.join('\n') : [`  … (${lines.length - LINES_MAX} lines)`, ...lines.slice(-LINES_MAX)].join('\n')
}

/** What kind of failure it is: another one would be another story. */
const kind = (error) => error.message.split(/[:\n]/)[0]

/** The whole story of the smallest session found that fails in the same way. */
export const shrunk = (seed, number, session, error, run) => {
  const began = Date.now()
  let best = { session, error, leaveOut: new Set() }
  const attempt = (steps) => {
    if (Date.now() - began > MILLISECONDS_MAX) return false
    const leaveOut = new Set([...best.leaveOut, ...steps])
    const { session, error } = run(seed, number, leaveOut)
    if (!error || kind(error) !== kind(best.error) || session.plainYjsDiffers()) return false
    best = { session, error, leaveOut }
    return true
  }
  for (let size = Math.ceil(session.plan.steps / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    const left = () => Array.from({ length: session.plan.steps }, (_, at) => at + 1).filter((step) => !best.leaveOut.has(step))
    for (let from = left().length - size; from > -size; from -= size) attempt(left().slice(Math.max(from, 0), from + size))
  }
  const { plan, step } = best.session
  const steps = plan.steps - best.leaveOut.size
  return [
    `RINGLEAF_TEST_SEED=${seed} RINGLEAF_TEST_SESSION=${number} fails at step ${step}, smallest with ${steps} of ${plan.steps} steps`,
    `  ${JSON.stringify(plan)}`, story(best.session), `  ${best.error.stack}`
  ].join('\n')
}
