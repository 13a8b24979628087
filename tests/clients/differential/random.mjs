// Dice that a seed repeats.

/** A generator of its own for each thing that is numbered, so that leaving one out changes nothing about the others. */
export const seeded = (...numbers) => {
  let mixed = 0
  for (const number of numbers) {
    mixed = (Math.imul(mixed, 31) + number + 1) >>> 0
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b) >>> 0
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35) >>> 0
    mixed = (mixed ^ (mixed >>> 16)) >>> 0
  }
  return new Random(mixed)
}

export class Random {
  constructor (seed) { this.state = seed >>> 0 }

  unit () {
    this.state = (this.state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(this.state ^ (this.state >>> 15), this.state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  below (end) { return Math.floor(this.unit() * end) }

  /** From `first` to `last`, both included. */
  between (first, last) { return first + this.below(last - first + 1) }

  chance (share) { return this.unit() < share }

  pick (list) { return list[this.below(list.length)] }

  /** `[[weight, value], …]` */
  weighted (choices) {
    let left = this.unit() * choices.reduce((sum, [weight]) => sum + weight, 0)
    for (const [weight, value] of choices) {
      left -= weight
      if (left < 0) return value
    }
    return choices[choices.length - 1][1]
  }

  shuffle (list) {
    const shuffled = [...list]
    for (let at = shuffled.length - 1; at > 0; at--) {
      const other = this.below(at + 1);
      [shuffled[at], shuffled[other]] = [shuffled[other], shuffled[at]]
    }
    return shuffled
  }

  some (list, share) { return list.filter(() => this.chance(share)) }

  /** Takes one out of a list. */
  take (list) { return list.splice(this.below(list.length), 1)[0] }
}
