/** A JSON document, or where and why it cannot be read; line and column count from 1. */
export type JsonResult =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly line: number; readonly column: number; readonly message: string }

/** Reads JSON (RFC 8259) and says where it is broken, which JSON.parse does not always do. */
export function parseJson(text: string): JsonResult {
  try {
    return { ok: true, value: JSON.parse(text) }
  } catch (thrown) {
    const fault = new Scanner(text).findFault()
    const before = text.slice(0, fault?.at ?? 0)
    const line = before.split('\n').length
    const column = before.length - before.lastIndexOf('\n')
    const message = fault?.message ?? (thrown instanceof Error ? thrown.message : String(thrown))
    return { ok: false, line, column, message }
  }
}

class Fault extends Error {
  readonly at: number

  constructor(at: number, message: string) {
    super(message)
    this.at = at
  }
}

/** Walks a text as far as it is JSON. */
class Scanner {
  readonly #text: string
  #at = 0

  constructor(text: string) {
    this.#text = text
  }

  /** The first place that is no JSON; undefined when there is none. */
  findFault(): Fault | undefined {
    try {
      this.#value()
      this.#space()
      if (this.#at < this.#text.length) throw this.#fault('something follows the end of the document')
      return undefined
    } catch (thrown) {
      if (thrown instanceof Fault) return thrown
      throw thrown
    }
  }

  #fault(message: string): Fault {
    const found = this.#text[this.#at]
    const where = found === undefined ? 'the file ends here' : `found ${JSON.stringify(found)}`
    return new Fault(this.#at, `${message}, ${where}`)
  }

  #space(): void {
    this.#match(/[ \t\n\r]*/y)
    if (/^\/[/*]/.test(this.#text.slice(this.#at, this.#at + 2))) throw this.#fault('JSON has no comments')
  }

  #match(pattern: RegExp): boolean {
    pattern.lastIndex = this.#at
    const found = pattern.exec(this.#text)
    if (found === null) return false
    this.#at += found[0].length
    return true
  }

  #value(): void {
    this.#space()
    const c = this.#text[this.#at]
    if (c === '{') this.#list('}', () => this.#member())
    else if (c === '[') this.#list(']', () => this.#value())
    else if (c === '"') this.#string()
    else if (!this.#match(/-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?|true|false|null/y)) {
      throw this.#fault('expected a value')
    }
  }

  #list(end: string, item: () => void): void {
    this.#at++
    this.#space()
    if (this.#text[this.#at] === end) {
      this.#at++
      return
    }
    for (;;) {
      item()
      this.#space()
      const c = this.#text[this.#at]
      if (c !== ',' && c !== end) throw this.#fault(`expected a comma or ${end}`)
      this.#at++
      if (c === end) return
      this.#space()
      if (this.#text[this.#at] === end) throw this.#fault(`a comma stands before ${end}`)
    }
  }

  #member(): void {
    this.#space()
    if (this.#text[this.#at] !== '"') throw this.#fault('expected a name in double quotes')
    this.#string()
    this.#space()
    if (this.#text[this.#at] !== ':') throw this.#fault('expected a colon')
    this.#at++
    this.#value()
  }

  #string(): void {
    if (!this.#match(/"([^"\\\u0000-\u001f]|\\(["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y)) {
      throw this.#fault('a string is not closed, or holds a control character or an unknown escape')
    }
  }
}
