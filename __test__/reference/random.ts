// Choices that a seed repeats.

export class Random {
  private state: number

  constructor(readonly seed: number) {
    this.state = seed >>> 0
  }

  /** From 0 to 1, without 1 (mulberry32). */
  next(): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0
    let mixed = this.state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  /** From 0 to `below`, without `below`. */
  int(below: number): number {
    return Math.floor(this.next() * below)
  }

  chance(probability: number): boolean {
    return this.next() < probability
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.int(choices.length)]
  }

  /** `least` to `most` of them, in any order, none twice. */
  some<T>(choices: readonly T[], least: number, most: number): T[] {
    const left = [...choices]
    const count = Math.min(left.length, least + this.int(most - least + 1))
    return Array.from({ length: count }, () => left.splice(this.int(left.length), 1)[0])
  }

  /** A list made by a function. */
  list<T>(least: number, most: number, make: () => T): T[] {
    return Array.from({ length: least + this.int(most - least + 1) }, make)
  }

  /** One of the makers by its weight. */
  weighted<T>(makers: readonly (readonly [weight: number, make: () => T])[]): T {
    let left = this.next() * makers.reduce((sum, [weight]) => sum + weight, 0)
    for (const [weight, make] of makers) {
      left -= weight
      if (left < 0) return make()
    }
    return makers[makers.length - 1][1]()
  }
}
