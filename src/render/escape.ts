/** A value that cannot stand in a unit file. */
class UnrenderableError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'UnrenderableError'
  }
}

/**
 * A template value as text of a unit file: `%` doubled, because systemd expands specifiers (systemd.unit(5)).
 * Throws UnrenderableError for nothing, and for line breaks and NUL, which could begin a directive of their own.
 */
export function escapeValue(value: unknown): string {
  if (value === undefined || value === null) throw new UnrenderableError('a value is missing')
  const text = String(value)
  if (/[\n\r\0]/.test(text)) throw new UnrenderableError(`a value holds a line break or NUL: ${JSON.stringify(text)}`)
  return text.replaceAll('%', '%%')
}

/** One word of a list that systemd splits at blanks (paths, arguments), quoted where needed (systemd.syntax(7)). */
export function quoteWord(text: string): string {
  return /^[A-Za-z0-9_@%+=:,./$-]+$/.test(text) ? text : quote(text)
}

/** One argument of an Exec line, quoted where needed; `$` is doubled so that nothing is expanded (systemd.service(5)). */
export function quoteArgument(argument: string): string {
  return quoteWord(argument.replaceAll('$', '$$$$'))
}

/** An Exec line from an argument vector. */
export function execLine(argv: readonly string[]): string {
  return argv.map(quoteArgument).join(' ')
}

/** One `NAME=value` of Environment= or LogExtraFields=, quoted where needed (systemd.exec(5)). */
export function assignment(name: string, value: string): string {
  return quoteWord(`${name}=${value}`)
}

function quote(text: string): string {
  return `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`
}
