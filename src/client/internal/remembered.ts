/** Ids that are remembered, the newest of them. */
export class Remembered {
  private readonly ids = new Set<string>()
  private readonly maximum: number

  constructor(maximum: number) {
    this.maximum = maximum
  }

  add(id: string): void {
    if (this.ids.size >= this.maximum) this.ids.delete(this.ids.values().next().value ?? "")
    this.ids.add(id)
  }

  get size(): number {
    return this.ids.size
  }

  has(id: string): boolean {
    return this.ids.has(id)
  }

  delete(id: string): boolean {
    return this.ids.delete(id)
  }
}
