import { describe, expect, it } from 'vitest'
import { failureLine, gitFailureType, isMissingRevision, isUnusableMirror } from '../../../src/install/git-output.ts'
import { packageFailure, packageVariables, trustedHosts } from '../../../src/install/python-packages.ts'

describe('packageVariables', () => {
  it('says to uv what is set for pip, unless uv has its own', () => {
    const pip = { PIP_INDEX_URL: 'https://a.example/simple', PIP_EXTRA_INDEX_URL: 'https://b.example/simple' }
    expect(packageVariables(pip, false)).toMatchObject({
      UV_DEFAULT_INDEX: 'https://a.example/simple',
      UV_INDEX: 'https://b.example/simple',
    })
    const both = packageVariables({ ...pip, UV_INDEX_URL: 'https://c.example/simple' }, false)
    expect(both['UV_DEFAULT_INDEX']).toBeUndefined()
    expect(both['PIP_INDEX_URL']).toBe('https://a.example/simple')
  })
  it('says to pip what is set for uv', () => {
    expect(packageVariables({ UV_DEFAULT_INDEX: 'own=https://c.example/simple' }, false)['PIP_INDEX_URL']).toBe(
      'https://c.example/simple',
    )
  })
  it('passes proxies and nothing else of the machine', () => {
    expect(packageVariables({ https_proxy: 'http://p', MACHINE_ID: 'm', HF_TOKEN: 's' }, false)).toEqual({
      https_proxy: 'http://p',
    })
  })
})

describe('trustedHosts', () => {
  it('trusts loopback, and other http hosts only where insecure sources are allowed', () => {
    const urls = 'http://127.0.0.1:7004/simple/ http://pypi.lan/simple https://a.example/simple'
    expect(trustedHosts(urls, false)).toEqual(['127.0.0.1:7004'])
    expect(trustedHosts(urls, true)).toEqual(['127.0.0.1:7004', 'pypi.lan'])
  })
})

describe('packageFailure', () => {
  it('keeps the lines that tell the reason, without passwords', () => {
    const output = 'Looking in indexes: x\nERROR: no match at https://me:pw@a.example/simple\nnoise'
    expect(packageFailure(output)).toBe('ERROR: no match at https://a.example/simple')
    const uv = 'Using Python 3.11\nerror: No solution found\n  cause: a needs b<1\n         and c needs b>=1\n'
    expect(packageFailure(uv)).toBe('error: No solution found | cause: a needs b<1 | and c needs b>=1')
    expect(packageFailure('one\n\ntwo\n')).toBe('one | two')
  })
})

describe('what git says', () => {
  it.each([
    ["fatal: couldn't find remote ref refs/heads/x", true],
    ['fatal: remote error: upload-pack: not our ref abc', true],
    ["fatal: unable to access 'https://x/': The requested URL returned error: 500", false],
  ])('%s', (stderr, missing) => {
    expect(isMissingRevision(stderr)).toBe(missing)
  })
  it('tells kinds of failure apart', () => {
    expect(gitFailureType('fatal: Could not resolve host: git.example')).toBe('dns_failure')
    expect(gitFailureType('The requested URL returned error: 403')).toBe('auth_failed')
    expect(gitFailureType('The requested URL returned error: 500')).toBe('git_failed')
    expect(isUnusableMirror("fatal: Unable to create '/c/x.git/shallow.lock': File exists.")).toBe(true)
  })
  it('finds the line with the reason', () => {
    expect(failureLine("Receiving 10%\rReceiving 20%\nfatal: unable to access 'https://u:p@x/'\n")).toBe(
      "fatal: unable to access 'https://x/'",
    )
  })
})
