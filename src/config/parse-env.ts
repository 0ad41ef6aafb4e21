import { type Problem, problemOf, type Warning, warningOf } from './problem.ts'

/** One `NAME=value` of an environment file; `line` is the line on which the name begins, from 1. */
export interface Assignment {
  readonly name: string
  readonly value: string
  readonly line: number
}

/** What one environment file says, and what of it cannot be read. */
export interface EnvFile {
  readonly assignments: readonly Assignment[]
  readonly problems: readonly Problem[]
  readonly warnings: readonly Warning[]
}

type State =
  | 'before-name'
  | 'name'
  | 'before-value'
  | 'value'
  | 'value-escape'
  | 'single-quote'
  | 'double-quote'
  | 'double-quote-escape'
  | 'comment'

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/
const ESCAPED_IN_QUOTES = '"\\`$'

/** Tells whether a text can be the name of an environment variable, environ(7). */
export function isVariableName(text: string): boolean {
  return NAME.test(text)
}

/**
 * Reads a file in the syntax of EnvironmentFile=, systemd.exec(5): quotes, backslash escapes, continuation lines, comments
 * with `#` or `;` at the beginning of a line only. What systemd would drop silently is a problem here: a line without `=`,
 * a name that is none, a quote that is never closed.
 */
export function parseEnv(text: string, file: string): EnvFile {
  const assignments: Assignment[] = []
  const problems: Problem[] = []
  const warnings: Warning[] = []
  let state: State = 'before-name'
  let name = ''
  let value = ''
  let kept = 0
  let quoted = false
  let line = 1
  let begin = 1

  const finish = (): void => {
    const word = name.trimEnd()
    if (isVariableName(word)) {
      const written = value.slice(0, kept)
      if (!quoted && /\s#/.test(written)) {
        const message = `${word}: a # within a line begins no comment, it is part of the value`
        warnings.push(warningOf(message, { origin: { file, line: begin }, variable: word }))
      }
      assignments.push({ name: word, value: written, line: begin })
    } else {
      problems.push(unusableName(word, file, begin))
    }
    state = 'before-name'
  }
  const keep = (text: string): void => {
    value += text
    kept = value.length
  }

  for (const c of `${text.replace(/^\uFEFF/, '').replaceAll('\r\n', '\n')}\n`) {
    const newline = c === '\n' || c === '\r'
    switch (state) {
      case 'before-name':
        if (c === '#' || c === ';') state = 'comment'
        else if (!isSpace(c)) {
          state = 'name'
          name = c
          value = ''
          kept = 0
          quoted = false
          begin = line
        }
        break
      case 'name':
        if (newline) {
          problems.push(withoutAssignment(name, file, begin))
          state = 'before-name'
        } else if (c === '=') state = 'before-value'
        else name += c
        break
      case 'before-value':
      case 'value':
        if (newline) finish()
        else if (c === '\\') state = 'value-escape'
        else if (state === 'before-value' && c === "'") state = 'single-quote'
        else if (state === 'before-value' && c === '"') state = 'double-quote'
        else if (!isSpace(c)) {
          keep(c)
          state = 'value'
        } else if (state === 'value') value += c
        break
      case 'value-escape':
        if (!newline) keep(c)
        state = 'value'
        break
      case 'single-quote':
        quoted = true
        if (c === "'") state = 'before-value'
        else keep(c)
        break
      case 'double-quote':
        quoted = true
        if (c === '"') state = 'before-value'
        else if (c === '\\') state = 'double-quote-escape'
        else keep(c)
        break
      case 'double-quote-escape':
        if (ESCAPED_IN_QUOTES.includes(c)) keep(c)
        else if (!newline) keep(`\\${c}`)
        state = 'double-quote'
        break
      case 'comment':
        if (newline) state = 'before-name'
        break
    }
    if (c === '\n') line++
  }
  return { assignments, problems: [...problems, ...unfinished(state, name, file, begin)], warnings }
}

function unfinished(state: State, name: string, file: string, line: number): readonly Problem[] {
  if (state === 'before-name') return []
  const word = name.trimEnd()
  const message = state === 'value' ? 'the file ends with a backslash' : 'a quote is never closed'
  return [problemOf('CM0302', `${word}: ${message}`, { origin: { file, line }, variable: word })]
}

function withoutAssignment(text: string, file: string, line: number): Problem {
  const word = text.trim()
  const shown = isVariableName(word) ? word : 'a line'
  return problemOf('CM0302', `${shown} has no =`, {
    origin: { file, line },
    hint: 'Write NAME=value, or begin the line with # to make it a comment.',
  })
}

function unusableName(word: string, file: string, line: number): Problem {
  const exported = /^export\s+(.+)$/.exec(word)?.[1]
  return problemOf('CM0302', `${JSON.stringify(word)} is not the name of a variable`, {
    origin: { file, line },
    hint:
      exported === undefined
        ? 'Use letters, digits and underscores, with no digit first.'
        : `Write ${exported}=value without export: the file is not a shell script.`,
  })
}

function isSpace(c: string): boolean {
  return c === ' ' || c === '\t' || c === '\n' || c === '\r'
}
