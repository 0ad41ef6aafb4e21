import { describe, expect, it } from 'vitest'
import { isSecretName, redact, redactEnvironment } from '../../../src/health/redact.ts'

describe('redact', () => {
  it.each([
    ['user and password of a URL', 'connect redis://admin:hunter2secret@hub:6379/0', 'hunter2secret'],
    ['a password alone in a URL', 'connect rediss://:hunter2secret@hub:6379', 'hunter2secret'],
    ['a token as user of a git URL', 'fetch https://abcdef123456@git.example/x.git', 'abcdef123456'],
    ['a value of a secret-looking variable', 'env EMPROPS_API_KEY=abc123 x', 'abc123'],
    ['a quoted value', 'CIVITAI_TOKEN="abc 123" x', 'abc 123'],
    ['an Authorization header', 'Authorization: Bearer abc.def', 'abc.def'],
    ['an Authorization header in JSON', '{"authorization":"Bearer abc.def"}', 'abc.def'],
    ['a basic Authorization header', 'authorization: Basic dXNlcjpwYXNz', 'dXNlcjpwYXNz'],
    ['a query parameter', 'GET https://m.example/a?x=1&X-Amz-Signature=deadbeef&y=2', 'deadbeef'],
    ['a member of JSON', '{"hf_token": "abc", "n": 1}', 'abc'],
    ['a member of JSON by a variable name', '{"MY_KEY":"a \\"b\\" xyzzy"}', 'xyzzy'],
    ['a quoted assignment of a unit', 'Environment="MY_KEY=one two three"', 'three'],
    ['a well-known form', 'using hf_abcdefghijklmnopqrst now', 'hf_abcdefghijklmnopqrst'],
  ])('removes %s', (_what, text, secret) => {
    const clean = redact(text)
    expect(clean).not.toContain(secret)
    expect(clean).toContain('[redacted]')
  })

  it('removes known values in every spelling', () => {
    const known = ['p@ss word/1', 'redis://:longpassword@hub:6379']
    const text = 'a p@ss word/1 b p%40ss%20word%2F1 c longpassword d'
    expect(redact(text, known)).toBe('a [redacted] b [redacted] c [redacted] d')
  })

  it('leaves everything else as it is', () => {
    const text =
      'step 17 https://github.com/o/r.git?ref=main MACHINE_ID=m-1 KEYBOARD=de monkey=1 at 2026-01-01T00:00:00Z commit c0ffee'
    expect(redact(text, ['', 'a'])).toBe(text)
  })
})

describe('redactEnvironment', () => {
  it('replaces values by name, also quoted and over several lines, and drops comments', () => {
    const text =
      '# token abcdef\nWORKERS=comfyui:2\nHF_TOKEN="one\ntwo"\nMY_SECRET_THING=x\\\ny\nPIP_INDEX_URL=https://u:p1@i/simple\n'
    expect(redactEnvironment(text)).toBe(
      'WORKERS=comfyui:2\nHF_TOKEN=[redacted]\nMY_SECRET_THING=[redacted]\nPIP_INDEX_URL=https://[redacted]@i/simple\n',
    )
  })
})

describe('isSecretName', () => {
  it('knows secrets by name', () => {
    for (const name of ['HF_TOKEN', 'EMPROPS_API_KEY', 'CLIENT_SECRET_ID', 'DB_PASSWORD', 'mysecret', 'APIKEY']) {
      expect(isSecretName(name), name).toBe(true)
    }
    for (const name of ['WORKERS', 'KEYBOARD', 'TOKENIZERS_PARALLELISM', 'PATH', 'COMFYUI_REF']) {
      expect(isSecretName(name), name).toBe(false)
    }
  })
})
