import { expect, test } from 'vitest'
import { listedUnits, readSnapshot } from '../../../src/host/unit-properties.ts'

test('a snapshot has every time on both clocks', () => {
  const names = ['Condition', 'InactiveExit', 'ActiveEnter', 'InactiveEnter', 'ExecMainStart', 'ExecMainExit'] as const
  const properties = Object.fromEntries(
    names.flatMap((name, index) => [
      [`${name}Timestamp`, 1_790_000_000_000_001n + BigInt(index)],
      [`${name}TimestampMonotonic`, 500_000_001n + BigInt(index)],
    ]),
  )
  const unit = readSnapshot('a.service', properties)
  const keys = ['condition', 'inactiveExit', 'activeEnter', 'inactiveEnter', 'execMainStart', 'execMainExit'] as const
  expect(keys.map((key) => [unit[`${key}Us`], unit[`${key}MonoUs`]])).toEqual(
    names.map((_, index) => [1_790_000_000_000_001 + index, 500_000_001 + index]),
  )
})

test('a row of ListUnits has the job that waits', () => {
  const row = ['a.service', 'A', 'loaded', 'inactive', 'dead', '', '/a', 7, 'start', '/job/7']
  expect(listedUnits([[row]])).toEqual([
    { name: 'a.service', loadState: 'loaded', activeState: 'inactive', subState: 'dead', jobId: 7 },
  ])
})
