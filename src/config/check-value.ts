import { isAbsolute } from 'node:path'
import { splitArguments } from './split-arguments.ts'
import type { VariableKind } from './variables.ts'
import { parseWorkers } from './workers.ts'

/** Arguments of ComfyUI that the machine sets itself, and --cuda-device, which would undo the choice of the GPU. */
const OWN_ARGUMENTS = [
  '--cuda-device',
  '--port',
  '--listen',
  '--output-directory',
  '--temp-directory',
  '--input-directory',
  '--user-directory',
]

const checks: Readonly<Record<VariableKind, (value: string) => readonly string[]>> = {
  address: (value) =>
    /^[0-9A-Fa-f.:]+$|^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$/.test(value)
      ? []
      : ['it is no IP address or host name'],
  arguments: argumentProblems,
  count: (value) => integerProblems(value, 1, 1024),
  'failure-policy': (value) => (/^(strict|degraded)$/.test(value) ? [] : ['it is neither strict nor degraded']),
  flag: (value) => (flagOf(value) === undefined ? ['it is neither 1 nor 0'] : []),
  'git-url': (value) =>
    /^(https?|ssh|git|file):\/\/[^\s]+$|^[A-Za-z0-9_.-]+@[A-Za-z0-9.-]+:[^\s]+$|^\/[^\s]*$/.test(value)
      ? []
      : ['it is no git URL; use https://, ssh:// or user@host:path'],
  'gpu-mode': (value) => (value === 'actual' || value === 'mock' ? [] : ['it is neither actual nor mock']),
  installer: (value) => (value === 'uv' || value === 'pip' ? [] : ['it is neither uv nor pip']),
  list: () => [],
  'machine-id': (value) =>
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(value)
      ? []
      : ['use up to 64 letters, digits, dots, underscores and hyphens, a letter or digit first'],
  path: pathProblems,
  port: (value) => integerProblems(value, 1, 65535),
  rate: (value) =>
    rateOf(value) === undefined ? [`${JSON.stringify(value)} is no rate; write 50M for 50 MB per second`] : [],
  'redis-url': (value) => urlProblems(value, ['redis:', 'rediss:']),
  seconds: (value) => integerProblems(value, 1, 86400),
  text: () => [],
  'torch-backend': (value) =>
    /^(auto|none|cpu|xpu|cu\d{2,3}|rocm\d+(\.\d+){1,2})$/.test(value)
      ? []
      : ['use auto, none, cpu, xpu, cuNNN or rocmN.N'],
  url: (value) => urlProblems(value, ['http:', 'https:']),
  'url-list': (value) => listOf(value).flatMap(baseProblems),
  workers: (value) => parseWorkers(value).problems,
}

/** Everything that is wrong with a value of this kind, one sentence each, never with the value of a URL in it. */
export function valueProblems(kind: VariableKind, value: string): readonly string[] {
  return checks[kind](value)
}

/** A switch as systemd reads booleans; undefined when it is none. */
export function flagOf(value: string): boolean | undefined {
  if (/^(1|yes|y|true|t|on)$/i.test(value)) return true
  return /^(0|no|n|false|f|off)$/i.test(value) ? false : undefined
}

/** Names separated by commas, without duplicates; `false` and `none` stand for no name. */
export function listOf(value: string): readonly string[] {
  if (/^\s*(false|none)?\s*$/i.test(value)) return []
  const names = value.split(',').map((name) => name.trim())
  return [...new Set(names.filter((name) => name !== ''))]
}

/** Bytes per second out of a number with K, M or G for powers of 1000; undefined when it is none or nothing could come. */
export function rateOf(value: string): number | undefined {
  const match = /^(\d{1,12}(?:\.\d{1,3})?)([KMG]?)$/i.exec(value)
  if (match === null) return undefined
  const power = ' KMG'.indexOf((match[2] ?? '').toUpperCase() || ' ')
  const rate = Math.round(Number(match[1]) * 1000 ** power)
  return rate > 0 && Number.isSafeInteger(rate) ? rate : undefined
}

function integerProblems(value: string, least: number, most: number): readonly string[] {
  const number = /^[0-9]{1,9}$/.test(value) ? Number(value) : Number.NaN
  return number >= least && number <= most ? [] : [`${JSON.stringify(value)} is not a number from ${least} to ${most}`]
}

function pathProblems(value: string): readonly string[] {
  if (!isAbsolute(value)) return [`${JSON.stringify(value)} is not an absolute path`]
  if (value.split('/').includes('..')) return ['it contains ..']
  if (/["'\\\p{Cc}]/u.test(value)) return ['it contains a quotation mark, a backslash or a control character']
  return /^\/+$/.test(value) ? ['it is the root of the file system'] : []
}

function urlProblems(value: string, schemes: readonly string[]): readonly string[] {
  const wanted = schemes.map((scheme) => `${scheme}//`).join(' or ')
  const url = URL.canParse(value) ? new URL(value) : undefined
  if (url === undefined || !schemes.includes(url.protocol)) return [`it is no URL that begins with ${wanted}`]
  return url.hostname === '' ? ['it has no host'] : []
}

/** A base URL has nothing that would have to be kept secret, and no part that a path cannot be added to. */
function baseProblems(value: string): readonly string[] {
  const problems = urlProblems(value, ['http:', 'https:'])
  if (problems.length > 0) return problems
  const { username, password, search, hash } = new URL(value)
  if (username !== '' || password !== '') return ['it has a user or password in it, and this variable is no secret']
  return search === '' && hash === '' ? [] : ['it has a query or fragment; only a path can follow the host']
}

function argumentProblems(value: string): readonly string[] {
  const { words, problem } = splitArguments(value)
  const problems = problem === null ? [] : [problem]
  for (const word of words) {
    const name = word.split('=', 1)[0] ?? word
    const own = name.length > 3 ? OWN_ARGUMENTS.find((argument) => argument.startsWith(name)) : undefined
    if (own === '--cuda-device') problems.push(`${name} cannot be used: ComfyUI would overwrite CUDA_VISIBLE_DEVICES`)
    else if (own !== undefined) problems.push(`${name} cannot be used: the machine sets ${own} itself`)
  }
  return problems
}
