import { describe, expect, test } from 'vitest'
import { sourcesOf } from '../../../src/models/model-sources.ts'

const SHA = 'ab'.repeat(32)
const SECRETS: Readonly<Record<string, string>> = {
  HF_TOKEN: 'hf',
  CIVITAI_TOKEN: 'civitai',
  MY_TOKEN: 'mine',
  EMPTY_TOKEN: '',
  HUB_REDIS_URL: 'redis://:pw@hub.example',
  EMPROPS_API_KEY: 'key',
}
const secrets = { read: (name: string) => SECRETS[name] }
const planOf = (...sources: string[]) => ({
  models: { sources, connections: 1, connectionsPerHost: 1, rateLimit: null, sharePort: null },
})
const origin = (url: string, authEnvVar: string | null = null) =>
  sourcesOf({ url, sha256: null, authEnvVar }, planOf(), secrets)[0]

describe('a token goes', () => {
  test.each([
    ['https://huggingface.co/org/m/resolve/main/m', null, 'hf', 'HF_TOKEN'],
    ['https://hf.co/m', null, 'hf', 'HF_TOKEN'],
    ['https://civitai.com/api/download/models/1', null, 'civitai', 'CIVITAI_TOKEN'],
    ['https://models.example/m', 'MY_TOKEN', 'mine', 'MY_TOKEN'],
    ['https://huggingface.co/m', 'MY_TOKEN', 'mine', 'MY_TOKEN'],
    ['https://models.example/m', 'UNSET_TOKEN', null, 'UNSET_TOKEN'],
    ['https://models.example/m', 'EMPTY_TOKEN', null, 'EMPTY_TOKEN'],
    ['https://models.example/m', null, null, null],
  ])('to %s with the variable %s: %s', (url, authEnvVar, token, tokenVariable) => {
    expect(origin(url, authEnvVar)).toEqual({ url, token, tokenVariable })
  })

  test.each([
    'https://huggingface.co.evil.example/m',
    'https://evil-huggingface.co/m',
    'https://cdn.huggingface.co/m',
    'https://huggingface.co:8443/m',
    'https://huggingface.co@evil.example/m',
  ])('not to %s by itself', (url) => {
    expect(origin(url)?.token).toBeNull()
  })

  test.each(['HUB_REDIS_URL', 'EMPROPS_API_KEY'])('never out of %s, whatever a component names', (name) => {
    expect(origin('https://models.example/m', name)?.token).toBeNull()
  })
})

describe('mirrors', () => {
  const plan = planOf('https://mirror.example/store', 'http://peer:8000')

  test('come first and get no token', () => {
    const url = 'https://huggingface.co/m'
    expect(sourcesOf({ url, sha256: SHA, authEnvVar: null }, plan, secrets)).toEqual([
      { url: `https://mirror.example/store/blobs/sha256/${SHA}`, token: null, tokenVariable: null },
      { url: `http://peer:8000/blobs/sha256/${SHA}`, token: null, tokenVariable: null },
      { url, token: 'hf', tokenVariable: 'HF_TOKEN' },
    ])
  })

  test('cannot be asked for a hash that nobody knows, and may be all there is', () => {
    expect(sourcesOf({ url: null, sha256: null, authEnvVar: null }, plan, secrets)).toEqual([])
    expect(sourcesOf({ url: null, sha256: SHA, authEnvVar: null }, plan, secrets).length).toBe(2)
  })
})
