import { describe, expect, test } from 'vitest'
import { readLastLines } from '../../../src/host/journal-reader.ts'
import type { ExecResult } from '../../../src/host/ports.ts'

function journal(answer: Partial<ExecResult>) {
  const ran: string[][] = []
  const exec = {
    run: async (argv: readonly string[]): Promise<ExecResult> => {
      ran.push([...argv])
      return { code: 0, signal: null, timedOut: false, stdout: '', stderr: '', ...answer }
    },
  }
  return { exec, ran }
}

describe('readLastLines', () => {
  const stretch = { unit: 'comfyui@gpu0.service', fromUs: 1_790_000_000_000_007, untilUs: 1_790_000_002_900_000 }

  test('asks for one unit and one stretch, after the journal has caught up', async () => {
    const { exec, ran } = journal({ stdout: 'one\n\n  two\n' })
    expect(await readLastLines(exec, stretch, 10)).toEqual(['one', '  two'])
    expect(ran[0]?.slice(1)).toEqual(['--sync'])
    expect(ran[1]?.slice(-4)).toEqual([
      '--since=@1790000000.000007',
      '--until=@1790000003.100000',
      '--lines=10',
      '_SYSTEMD_UNIT=comfyui@gpu0.service',
    ])
  })

  test('cuts long lines, and has none when the journal does not answer', async () => {
    expect(await readLastLines(journal({ stdout: 'x'.repeat(9_000) }).exec, stretch, 1)).toEqual(['x'.repeat(500)])
    expect(await readLastLines(journal({ code: 1, stdout: 'x' }).exec, stretch, 1)).toEqual([])
  })
})
