/** The words of a command line, or the reason why it cannot be split. */
export interface SplitResult {
  readonly words: readonly string[]
  readonly problem: string | null
}

/**
 * Splits as systemd splits a variable into arguments (systemd.service(5), Command lines): at white space, quotes of both
 * kinds hold words together anywhere in a word, a backslash takes the next character as it is.
 */
export function splitArguments(text: string): SplitResult {
  const words: string[] = []
  let word: string | null = null
  let quote: string | null = null
  let escaped = false
  for (const c of text) {
    if (escaped) {
      word = (word ?? '') + c
      escaped = false
    } else if (c === '\\') {
      escaped = true
    } else if (quote !== null) {
      if (c === quote) quote = null
      else word = (word ?? '') + c
    } else if (c === '"' || c === "'") {
      quote = c
      word ??= ''
    } else if (/\s/.test(c)) {
      if (word !== null) words.push(word)
      word = null
    } else {
      word = (word ?? '') + c
    }
  }
  if (word !== null) words.push(word)
  if (quote !== null) return { words, problem: `a ${quote} is never closed` }
  if (escaped) return { words, problem: 'it ends with a backslash' }
  return { words, problem: null }
}
