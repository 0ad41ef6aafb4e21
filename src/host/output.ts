import { StringDecoder } from 'node:string_decoder'

const KEPT_CHARS = 16 * 1024 * 1024
const LINE_CHARS = 64 * 1024

/** What a program says on one of its streams: all of it, up to a limit the end of it, and line by line. */
export interface Output {
  take(text: string): void
  /** Hands over a last line without an end. */
  end(): void
  /** Everything that was taken, or its last 16 Mi characters. */
  text(): string
}

/** Gathers the output of a program. `onLine` gets each line without its end, of a longer one the first 64 Ki characters. */
export function gatherOutput(onLine: (line: string) => void): Output {
  let kept = ''
  let rest = ''
  return {
    take(text) {
      kept += text
      if (kept.length > 2 * KEPT_CHARS) kept = kept.slice(-KEPT_CHARS)
      const lines = (rest + text).split(/\r\n|\n|\r/)
      rest = (lines.pop() ?? '').slice(0, LINE_CHARS)
      for (const line of lines) onLine(line.slice(0, LINE_CHARS))
    },
    end() {
      if (rest !== '') onLine(rest)
      rest = ''
    },
    text: () => kept.slice(-KEPT_CHARS),
  }
}

/** Calls `onText` with what a stream brings as UTF-8; bytes that are none become U+FFFD. False stops the stream until it is resumed. */
export function readUtf8(stream: NodeJS.ReadableStream, onText: (text: string) => boolean): void {
  const decoder = new StringDecoder('utf8')
  stream.on('data', (chunk: Buffer) => {
    const text = decoder.write(chunk)
    if (text !== '' && !onText(text)) stream.pause()
  })
  stream.on('end', () => {
    const text = decoder.end()
    if (text !== '') onText(text)
  })
}
