import { describe, expect, test } from 'vitest'
import type { WantedModel } from '../../../src/install/components.ts'
import type { MachineLock } from '../../../src/install/machine-lock.ts'
import { mergeLocks } from '../../../src/models/merge-locks.ts'
import type { VerifiedFile } from '../../../src/models/model-plan.ts'
import { memoryMachine, nodeOf } from '../install/build-context.ts'
import { modelOf } from './memory-store.ts'

const NEW = 'bb'.repeat(32)
const OLD = 'aa'.repeat(32)
const unknown: WantedModel = modelOf('m', '', { sha256: null, bytes: null, estimatedBytes: 0 })
const verified = new Map<string, VerifiedFile>([['m', { bytes: 9, mtimeMs: 1, sha256: NEW }]])

/** A machine on a generation whose lock has these models. */
async function machineOn(models: readonly WantedModel[]) {
  const machine = memoryMachine([nodeOf('a')])
  machine.wanted.models = models
  await machine.build()
  const id = machine.whole()[0] ?? ''
  return { machine, id, models: () => machine.lockOf(id).models }
}

describe('the locks of generations in use', () => {
  test('get the hashes that were computed', async () => {
    const { machine, models } = await machineOn([unknown])
    await mergeLocks(machine, verified, [unknown])
    expect(models()).toEqual([{ ...unknown, sha256: NEW, bytes: 9, estimatedBytes: 9 }])
  })

  test('get another one when that was accepted', async () => {
    const { machine, models } = await machineOn([{ ...unknown, sha256: OLD }])
    await mergeLocks(machine, verified, [unknown])
    expect(models()[0]?.sha256).toBe(NEW)
  })

  test('keep a hash that a component declares, or that nobody knows better', async () => {
    const declared = { ...unknown, sha256: OLD }
    const { machine, models } = await machineOn([declared])
    await mergeLocks(machine, verified, [declared])
    await mergeLocks(machine, verified, [])
    await mergeLocks(machine, new Map(), [unknown])
    expect(models()).toEqual([declared])
  })

  test('are not written when they say it already', async () => {
    const { machine } = await machineOn([unknown])
    await mergeLocks(machine, verified, [unknown])
    machine.host.files.writeText = async (path) => {
      throw new Error(`${path} is written`)
    }
    await mergeLocks(machine, verified, [unknown])
  })

  test('keep what the installer of custom nodes writes meanwhile', async () => {
    const { machine, id, models } = await machineOn([unknown])
    const path = `/w/comfyui/generations/${id}/machine.lock.json`
    const { readText } = machine.host.files
    let reads = 0
    machine.host.files.readText = async (asked) => {
      const text = await readText(asked)
      if (asked === path && ++reads === 1) {
        const lock = JSON.parse(text ?? '') as MachineLock
        machine.texts.set(path, JSON.stringify({ ...lock, models: [unknown, modelOf('other', 'x')] }))
      }
      return text
    }
    await mergeLocks(machine, verified, [unknown])
    expect(models().map(({ name, sha256 }) => [name, sha256])).toEqual([
      ['m', NEW],
      ['other', modelOf('other', 'x').sha256],
    ])
  })
})

test('the installer of custom nodes takes over the hashes, also those that come while it writes', async () => {
  const machine = memoryMachine([nodeOf('a')])
  machine.wanted.models = [unknown]
  const { writeText } = machine.host.files
  machine.host.files.writeText = async (path, text, options) => {
    await writeText(path, text, options)
    if (!path.endsWith('/machine.lock.json')) return
    const files = Object.fromEntries(verified)
    await writeText('/w/models.json', JSON.stringify({ schema: 1, files }))
  }
  await machine.build()
  expect(machine.lockOf(machine.whole()[0] ?? '').models[0]).toMatchObject({ sha256: NEW, bytes: 9 })
})
