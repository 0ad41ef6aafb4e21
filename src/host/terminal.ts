import type { Terminal } from './ports.ts'

/** Standard output and standard error of this process; a reader that went away (EPIPE) ends the process quietly. */
export function openTerminal(env: NodeJS.ProcessEnv = process.env): Terminal {
  const { stdout, stderr } = process
  for (const stream of [stdout, stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error
      process.exit()
    })
  }
  const isTTY = stdout.isTTY === true
  const noColour = (env['NO_COLOR'] ?? '') !== '' || env['TERM'] === 'dumb'
  return {
    write: (text) => void stdout.write(text),
    error: (text) => void stderr.write(text),
    isTTY,
    colour: isTTY && !noColour,
    get columns() {
      return stdout.columns ?? 80
    },
    get rows() {
      return stdout.rows ?? 24
    },
  }
}
