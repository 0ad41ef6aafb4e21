import { describe, expect, it } from 'vitest'
import { openRecord, STATE_FILE } from '../../../src/health/record.ts'
import type { Files } from '../../../src/host/ports.ts'
import { filesOf, movingClock } from '../commands/ports.ts'
import { BEGUN_US, buildState } from './build-state.ts'

const STATE = JSON.stringify(buildState())

/** Files that count how often a text is read. */
function counting(texts: Record<string, string>): { readonly files: Files; reads(): number } {
  const files = filesOf(texts)
  let reads = 0
  return {
    reads: () => reads,
    files: {
      ...files,
      readText(path) {
        reads += 1
        return files.readText(path)
      },
    },
  }
}

describe('openRecord', () => {
  it('sees the agent alive while its process exists', async () => {
    const clock = movingClock(BEGUN_US)
    expect(await openRecord(filesOf({ [STATE_FILE]: STATE, '/proc/100': '' }), clock).look()).toMatchObject({
      alive: true,
    })
    expect(await openRecord(filesOf({ [STATE_FILE]: STATE }), clock).look()).toMatchObject({ alive: false })
  })

  it('takes the record of a controller that knew no shortfalls for one that has none', async () => {
    const { shortfalls: _, ...old } = buildState()
    const record = openRecord(filesOf({ [STATE_FILE]: JSON.stringify(old) }), movingClock(BEGUN_US))
    expect((await record.look()).state?.shortfalls).toEqual([])
  })

  it('shows nothing when there is no record, and the trouble of one that is none', async () => {
    const clock = movingClock(BEGUN_US)
    expect(await openRecord(filesOf({}), clock).look()).toEqual({ alive: false })
    for (const text of ['{"schema":1,"st', '{"schema":2,"steps":[]}', 'null', '{"schema":1}']) {
      const { trouble, state } = await openRecord(filesOf({ [STATE_FILE]: text }), clock).look()
      expect(trouble, text).toContain('the record of the machine cannot be read')
      expect(state).toBeUndefined()
    }
  })

  it('reads the file once while it is not replaced', async () => {
    const { files, reads } = counting({ [STATE_FILE]: STATE })
    const record = openRecord(files, movingClock(BEGUN_US))
    const first = await record.look()
    expect((await record.look()).state).toBe(first.state)
    expect(reads()).toBe(1)
  })

  it('reads again a file that is so young that a replacement could look the same', async () => {
    const texts = { [STATE_FILE]: STATE }
    const { files, reads } = counting(texts)
    const record = openRecord(files, movingClock(50_000))
    await record.look()
    texts[STATE_FILE] = STATE.replace('machine-1', 'machine-2')
    expect((await record.look()).state?.machineId).toBe('machine-2')
    expect(reads()).toBe(2)
  })

  it('forgets a record that was removed', async () => {
    const texts: Record<string, string> = { [STATE_FILE]: STATE }
    const record = openRecord(filesOf(texts), movingClock(BEGUN_US))
    await record.look()
    delete texts[STATE_FILE]
    expect((await record.look()).state).toBeUndefined()
  })
})
