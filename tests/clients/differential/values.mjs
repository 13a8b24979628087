// What editors write into documents.

const LETTERS = 'abcdefghijklmnopqrstuvwxyz'

export const word = (random) => {
  let text = ''
  for (let left = random.between(1, 8); left > 0; left--) {
    text += random.weighted([[20, LETTERS[random.below(26)]], [2, '😀'], [1, 'é'], [1, '漢'], [1, '👩‍🚀']])
  }
  return text
}

const plain = [
  (random) => random.below(1000),
  (random) => -random.below(2 ** 40),
  (random) => random.below(1e6) / 7,
  word,
  () => null,
  () => undefined,
  (random) => random.chance(0.5),
  (random) => BigInt(random.below(2 ** 31)) * 4294967297n,
  (random) => Uint8Array.from({ length: random.below(5) }, () => random.below(256))
]

/** Anything that a value of an array or a map can be, shared types and subdocuments apart. */
export const value = (random, depth = 2) => {
  if (depth > 0 && random.chance(0.2)) {
    return random.chance(0.5)
      ? Array.from({ length: random.below(4) }, () => value(random, depth - 1))
      : Object.fromEntries(Array.from({ length: random.below(3) }, () => [word(random), value(random, depth - 1)]))
  }
  return random.pick(plain)(random)
}

/** What JSON can say. */
export const jsonValue = (random) => random.pick([
  () => random.below(100), () => word(random), () => null, () => true, () => ({ [word(random)]: [random.below(9), word(random)] })
])()

export const key = (random) => random.pick(['a', 'b', 'c', 'd', 'ключ'])

export const marks = (random) => ({
  [random.pick(['bold', 'em', 'link'])]: random.weighted([[3, true], [2, null], [1, { href: word(random) }]])
})

/** The start and length of a stretch of a list, given its units. Not within a surrogate pair, unless `halves` are wanted. */
export const stretch = (random, units, halves) => {
  const from = place(random, units, halves)
  const to = place(random, units, halves, Math.min(units.length, from + random.between(1, 5)))
  return [from, to - from]
}

/** Many meet at the beginning: what is written at one place by many is what has to be ordered. */
const anywhere = (random, units) => random.below((random.chance(0.35) ? Math.min(units.length, 3) : units.length) + 1)

export const place = (random, units, halves, at = anywhere(random, units)) => {
  if (halves && random.chance(0.5)) {
    const pair = units.search(/[\ud800-\udbff][\udc00-\udfff]/)
    if (pair >= 0) return pair + 1
  }
  return !halves && splitsPair(units, at) ? at - 1 : at
}

const splitsPair = (units, at) => /[\udc00-\udfff]/.test(units[at] ?? '') && /[\ud800-\udbff]/.test(units[at - 1] ?? '')
