import { gatherOutput } from './output.ts'
import type { Exec, ExecOptions, ExecResult } from './ports.ts'
import { runProgram } from './program.ts'

/** Runs programs in a process group of their own; abort and time limit end the whole group, SIGTERM first. */
export const systemExec: Exec = {
  run: (argv, options = {}) => run(argv, options),
}

async function run(argv: readonly [string, ...string[]], options: ExecOptions): Promise<ExecResult> {
  if (options.signal?.aborted === true) {
    return { code: null, signal: 'SIGTERM', timedOut: false, stdout: '', stderr: '' }
  }
  const { onLine, ...rest } = options
  const output = {
    stdout: gatherOutput((line) => onLine?.(line, 'stdout')),
    stderr: gatherOutput((line) => onLine?.(line, 'stderr')),
  }
  const onText = (text: string, stream: 'stdout' | 'stderr'): true => {
    output[stream].take(text)
    return true
  }
  const end = await runProgram({ argv, ...rest }, { onText })
  for (const stream of [output.stdout, output.stderr]) stream.end()
  return { ...end, stdout: output.stdout.text(), stderr: output.stderr.text() }
}
