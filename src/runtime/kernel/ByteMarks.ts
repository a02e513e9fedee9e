/** How many bytes a sequence had come to at some of its numbers: few marks, however long the sequence. */

interface Mark {
  readonly seq: number
  readonly bytes: number
}

const maxMarks = 256

/** Between two marks at least, where there is no other reason for one. */
const bytesPerMark = 65_536

/** Numbers and the bytes up to them, both growing. */
export class ByteMarks {
  private marks: Array<Mark> = []

  /** The sequence comes to this many bytes with this number, once that is durable: no older mark goes for it, so that it can be undone. */
  assume(seq: number, bytes: number): void {
    this.marks.push({ seq, bytes })
  }

  /** The sequence had come to this many bytes with this number. */
  add(seq: number, bytes: number): void {
    this.assume(seq, bytes)
    if (this.marks.length <= maxMarks) return
    // Every other one of the older half: what is about to be asked for stays fine.
    const half = maxMarks >> 1
    this.marks = this.marks.filter((_, i) => i >= half || i % 2 === 1)
  }

  /** Whether what has come since the last mark is worth one. */
  due(bytes: number): boolean {
    return bytes - (this.marks.at(-1)?.bytes ?? 0) >= bytesPerMark
  }

  /** The numbers behind this one were not assigned after all. */
  revert(seq: number): void {
    while ((this.marks.at(-1)?.seq ?? 0) > seq) this.marks.pop()
  }

  /** The bytes up to the last mark that is not beyond a number; 0 where there is none. */
  at(seq: number): number {
    let bytes = 0
    for (const mark of this.marks) {
      if (mark.seq > seq) break
      ;({ bytes } = mark)
    }
    return bytes
  }

  /** Drops the marks before a number. */
  forget(seq: number): void {
    let first = 0
    while (first + 1 < this.marks.length && this.marks[first + 1]!.seq <= seq) first++
    if (first > 0) this.marks.splice(0, first)
  }

  /** The highest marked number up to which there are at most this many bytes; 0 where there is none. */
  upTo(bytes: number): number {
    let seq = 0
    for (const mark of this.marks) {
      if (mark.bytes > bytes) break
      ;({ seq } = mark)
    }
    return seq
  }
}
