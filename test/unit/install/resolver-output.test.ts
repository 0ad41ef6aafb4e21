import { describe, expect, it } from 'vitest'
import {
  edgesOf,
  failureKind,
  mentionedNames,
  missingNames,
  networkFailure,
  resolverWords,
} from '../../../src/install/resolver-output.ts'

const UV_CONFLICT = `error: No solution found when resolving dependencies
  cause: Because all versions of fixture-conflict depend on fixture-beta<1.0 and you require fixture-conflict==1.0.0, we can conclude that you require fixture-beta<1.0.
         And because you require fixture-beta>=1, we can conclude that your requirements are unsatisfiable.
`
const PIP_CONFLICT = `Collecting fixture-beta>=1
INFO: pip is looking at multiple versions of fixture-conflict to determine which version is compatible
The conflict is caused by:
    The user requested fixture-beta>=1
    fixture-conflict 1.0.0 depends on fixture-beta<1.0

To fix this you could try to:
1. loosen the range of package versions you've specified
ERROR: Cannot install -r /n/requirements.txt (line 2) and fixture-beta>=1 because these package versions have conflicting dependencies.
ERROR: ResolutionImpossible: for help visit https://pip.pypa.io/
`
const UV_NETWORK = `error: Request failed after 3 retries in 9.1s
  cause: Failed to fetch: https://me:pw@a.test/simple/torch/
  cause: error sending request for url (https://me:pw@a.test/simple/torch/)
  cause: dns error
`
const PIP_NETWORK = `WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError('<pip>: Failed to establish a new connection: [Errno 111] Connection refused')': /simple/x/
ERROR: Could not find a version that satisfies the requirement x (from versions: none)
ERROR: No matching distribution found for x
`

describe('failureKind', () => {
  it.each([
    [UV_CONFLICT, 'conflict'],
    [PIP_CONFLICT, 'conflict'],
    ['ERROR: No matching distribution found for x', 'conflict'],
    [UV_NETWORK, 'failed'],
    [PIP_NETWORK, 'failed'],
    ["error: Couldn't parse requirement in `bad.txt` at position 0", 'invalid'],
    ["ERROR: Invalid requirement: 'this is not'", 'invalid'],
    ['error: Failed to build `x==1`\n  cause: setup.py egg_info failed', 'failed'],
  ])('%s', (output, kind) => {
    expect(failureKind(output)).toBe(kind)
  })
})

describe('resolverWords', () => {
  it('is the reason in one line, without passwords and advice', () => {
    expect(resolverWords(UV_NETWORK)).toBe(
      'Request failed after 3 retries in 9.1s cause: Failed to fetch: https://a.test/simple/torch/ cause: error sending request for url (https://a.test/simple/torch/) cause: dns error',
    )
    expect(resolverWords(PIP_CONFLICT)).toBe(
      'Cannot install -r /n/requirements.txt (line 2) and fixture-beta>=1 because these package versions have conflicting dependencies. The conflict is caused by: The user requested fixture-beta>=1 fixture-conflict 1.0.0 depends on fixture-beta<1.0',
    )
    expect(networkFailure(resolverWords(PIP_NETWORK))).toBe('network_unreachable')
    const build =
      'Collecting a\nCollecting b@ git+https://a.test/b\n  error: subprocess-exited-with-error\n  × git clone failed\n'
    expect(resolverWords(build)).toBe(
      'subprocess-exited-with-error × git clone failed `Collecting b@ git+https://a.test/b`',
    )
    expect(resolverWords('one\n\ntwo\n')).toBe('one two')
  })
})

describe('what a resolver speaks of', () => {
  it('finds who wants which version of what', () => {
    const edge = { from: 'fixture-conflict', to: 'fixture-beta', spec: '<1.0' }
    expect(edgesOf(resolverWords(UV_CONFLICT))).toEqual([edge])
    expect(edgesOf(resolverWords(PIP_CONFLICT))).toEqual([edge])
    expect(edgesOf('Because scipy==1.10.1 depends on numpy>=1.19.5,<1.27.0 and b[x]>=2 depends on C_c[y], we')).toEqual(
      [
        { from: 'scipy', to: 'numpy', spec: '>=1.19.5,<1.27.0' },
        { from: 'b', to: 'c-c', spec: '' },
      ],
    )
  })
  it('shortens a choice of versions', () => {
    const words =
      'fastapi==0.95.0 depends on one of: pydantic>=1.6.2,<1.7 pydantic>1.7,<1.7.1 pydantic>1.8.1,<2.0.0 and you'
    expect(edgesOf(words)).toEqual([{ from: 'fastapi', to: 'pydantic', spec: '>=1.6.2,<1.7 … >1.8.1,<2.0.0' }])
  })
  it('finds the names that are known, in its order', () => {
    const known = new Set(['fixture-beta', 'fixture-conflict', 'other'])
    expect(mentionedNames(resolverWords(UV_CONFLICT), known)).toEqual(['fixture-conflict', 'fixture-beta'])
  })
  it('finds what does not exist', () => {
    expect(missingNames('Because no-such was not found in the package registry and you require no-such==9')).toEqual([
      'no-such',
    ])
    expect(missingNames('Because only beta<=1.1.0 is available and you require beta>=7')).toEqual(['beta'])
    expect(missingNames('Because there is no version of beta==7.7 and you require beta==7.7')).toEqual(['beta'])
    expect(missingNames('ERROR: No matching distribution found for no_such==9')).toEqual(['no-such'])
    expect(missingNames(resolverWords(UV_CONFLICT))).toEqual([])
  })
  it.each([
    ['Failed to fetch: https://a cause: dns error', 'dns_failure'],
    ['Failed to fetch: https://a cause: HTTP status client error (401 Unauthorized)', 'auth_failed'],
    ['Failed to fetch: https://a cause: HTTP status server error (503)', 'http_error'],
    ["ConnectTimeout('timed out')", 'network_timeout'],
    ['No solution found', undefined],
  ])('%s is %s', (output, type) => {
    expect(networkFailure(output)).toBe(type)
  })
})
