import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bundleProgram } from './bundle.ts'
import type { Host } from './host.ts'
import type { Outcome, Request } from './inside/resolve-requirements.ts'
import { bootInstalledHost } from './installed.ts'

const NODE = '/usr/lib/comfy-machine/bin/node'
const PROGRAM = '/opt/resolve-requirements.mjs'
const REQUEST = '/opt/request.json'
const INDEX = { PIP_INDEX_URL: 'http://127.0.0.1:7004/simple' }
const COMFYUI = { ComfyUI: 'comfyui-frontend-package==1.0.0\ntorch\n' }
const ALPHA = { 'custom node node-alpha': '# through fixture-alpha\nfixture-alpha>=1.0,<2\n' }
const TOGETHER = {
  'comfyui-frontend-package': '1.0.0',
  'fixture-alpha': '1.2.0',
  'fixture-beta': '1.1.0',
  'fixture-gamma': '1.0.0',
  torch: '2.9.0',
}

// A package that builds itself, for nothing can be downloaded to build it with.
const PROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
const BACKEND = `import zipfile

INFO = "fixture_vcs-3.0.dist-info"
FILES = {
    "fixture_vcs.py": "",
    f"{INFO}/METADATA": "Metadata-Version: 2.1\\nName: fixture-vcs\\nVersion: 3.0\\n",
    f"{INFO}/WHEEL": "Wheel-Version: 1.0\\nGenerator: fixture\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
}


def build_wheel(directory, config_settings=None, metadata_directory=None):
    name = "fixture_vcs-3.0-py3-none-any.whl"
    with zipfile.ZipFile(f"{directory}/{name}", "w") as wheel:
        for path, text in FILES.items():
            wheel.writestr(path, text)
        wheel.writestr(f"{INFO}/RECORD", "".join(f"{path},,\\n" for path in [*FILES, f"{INFO}/RECORD"]))
    return name
`
const REPOSITORY = `systemctl start fixture-build.service && cd /opt/vcs && git init -q && git add . &&
  git -c user.name=f -c user.email=f@localhost commit -qm vcs && git tag v1 && git clone -q --bare . /srv/git/fixture-vcs.git`

type Texts = Readonly<Record<string, string | Buffer | Readonly<Record<string, string>>>>

let host: Host

beforeAll(async () => {
  host = await bootInstalledHost({ name: 'resolution' })
  await host.write(PROGRAM, await bundleProgram(path.join(import.meta.dirname, 'inside/resolve-requirements.ts')))
  await host.write('/opt/vcs/pyproject.toml', PROJECT)
  await host.write('/opt/vcs/backend.py', BACKEND)
  await host.must(REPOSITORY)
  await host.must('systemctl start fixture-git.service fixture-index.service && mkdir -p /var/cache/comfy-machine/home')
})
afterAll(() => host?.stop())

async function ask(installer: 'uv' | 'pip', texts: Texts, more: Partial<Request> = {}): Promise<Outcome> {
  const owners = Object.fromEntries(
    Object.entries(texts).map(([owner, content]) => {
      const files = typeof content === 'string' || content instanceof Buffer ? { 'requirements.txt': content } : content
      const encoded = Object.entries(files).map(([file, text]) => [file, Buffer.from(text).toString('base64')])
      return [owner, Object.fromEntries(encoded) as Readonly<Record<string, string>>]
    }),
  )
  const request: Request = { installer, owners, variables: INDEX, ...more }
  await host.write(REQUEST, JSON.stringify(request))
  return JSON.parse(await host.must([NODE, PROGRAM, REQUEST], { timeoutMs: 120_000 })) as Outcome
}

function lockOf({ resolution }: Outcome): string {
  if (!resolution.ok) throw new Error(resolution.detail)
  return resolution.requirements
}

describe.each(['uv', 'pip'] as const)('%s', (installer) => {
  test('all files resolve together, to the same text each time, and that is what is installed', async () => {
    const first = await ask(installer, { ...COMFYUI, ...ALPHA }, { environment: `/opt/first-${installer}` })
    expect(first.failure).toBeNull()
    expect(first.installed).toMatchObject(TOGETHER)
    expect(Object.keys(first.installed)).toContain('pip')
    const { code } = await host.exec([`/opt/first-${installer}/bin/python`, '-c', 'import torch, fixture_gamma'])
    expect(code).toBe(0)
    expect(await host.must(`find /opt/first-${installer} -name "__init__.*.pyc" -path "*fixture_gamma*"`)).not.toBe('')
    const again = await ask(installer, { ...COMFYUI, ...ALPHA })
    expect(lockOf(again)).toBe(lockOf(first))
    expect(lockOf(first)).not.toMatch(/#|\/opt|127\.0\.0\.1/)
    const pins = lockOf(first).match(/^[a-z].*(?= \\$)/gm)
    expect(pins).toEqual(Object.entries(TOGETHER).map(([name, version]) => `${name}==${version}`))
    expect(first.distributionsMs).toBeLessThan(100)
  })

  test('two requirements that contradict each other are named with owner, file and line', async () => {
    const { fault } = await ask(installer, {
      ...COMFYUI,
      'custom node node-a': 'fixture-gamma\n\nfixture-beta<1\n',
      'custom node node-b': { 'requirements.txt': '-r more/base.txt\n', 'more/base.txt': 'fixture-beta>=1\n' },
      ...ALPHA,
    })
    expect(fault).toMatchObject({ code: 'CM1706', owners: ['custom node node-a', 'custom node node-b'] })
    expect(fault?.message).toBe(
      'custom node node-a wants fixture-beta<1 (requirements.txt:3); custom node node-b wants fixture-beta>=1 (more/base.txt:1)',
    )
  })

  test('and so is what is between', async () => {
    const { fault } = await ask(installer, {
      ComfyUI: 'torch\nfixture-beta>=1\n',
      'custom node node-conflict': 'fixture-conflict\n',
    })
    expect([fault?.code, fault?.message]).toEqual([
      'CM1706',
      'ComfyUI wants fixture-beta>=1 (requirements.txt:2); custom node node-conflict wants fixture-conflict (requirements.txt:1), which wants fixture-beta<1.0',
    ])
  })

  test.each<[string, string | Buffer, string, RegExp]>([
    [
      'a package that does not exist',
      'fixture-gamma\nfixture-none==9.9.9\n',
      'CM1703',
      /wants fixture-none==9\.9\.9 \(requirements\.txt:2\), which no package index has/,
    ],
    [
      'a version that does not exist',
      'fixture-beta>=7\n',
      'CM1703',
      /wants fixture-beta>=7 \(requirements\.txt:1\), which no package index has/,
    ],
    ['a file that is none', 'this is not <<< a requirement\n', 'CM1707', /requirements\.txt/],
    ['a page', '<!DOCTYPE html>\n<html>\n', 'CM1707', /requirements\.txt:1: “<!DOCTYPE html>” is no requirement/],
    ['bytes', Buffer.from([0x50, 0x4b, 3, 4, 0, 0xff]), 'CM1707', /is no text/],
    ['a path', './vendor/x-1.0-py3-none-any.whl\n', 'CM1707', /requirements\.txt:1: it names a path/],
    ['an editable one', '-e .\n', 'CM1707', /requirements\.txt:1: -e is not supported/],
    ['a file outside', '-r ../ComfyUI/requirements.txt\n', 'CM1707', /is outside of its directory/],
  ])('%s names its owner', async (_what, text, code, says) => {
    const { fault } = await ask(installer, { ...COMFYUI, 'custom node node-bad': text, ...ALPHA })
    expect(fault).toMatchObject({ code, owners: ['custom node node-bad'] })
    expect(fault?.message).toMatch(/^custom node node-bad/)
    expect(fault?.message).toMatch(says)
    expect(fault?.message).not.toContain('/opt')
  })

  test('files that say nothing, byte order marks, UTF-16 and carriage returns are read', async () => {
    const outcome = await ask(installer, {
      'custom node empty': '',
      'custom node comment': '# nothing\r\n',
      'custom node bom': '\ufefffixture-gamma\r\n',
      'custom node wide': Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from('fixture-beta<1\n', 'utf16le')]),
      'custom node marker': 'torch; python_version < "3"\nfixture-gamma; sys_platform == "linux"\n',
    })
    expect(lockOf(outcome).match(/^\S+/gm)).toEqual(['fixture-beta==0.9.0', 'fixture-gamma==1.0.0'])
    expect(lockOf(await ask(installer, { 'custom node empty': '' }))).toBe('')
  })

  test('a further index of a file is used at once and from the lock', async () => {
    const extra = '--extra-index-url http://127.0.0.1:7004/simple'
    const variables = { ...INDEX, PIP_INDEX_URL: 'http://127.0.0.1:7004/none', PIP_TRUSTED_HOST: '127.0.0.1' }
    const outcome = await ask(
      installer,
      { 'custom node extra': `${extra}\nfixture-gamma\n` },
      { variables, environment: `/opt/extra-${installer}` },
    )
    expect(lockOf(outcome)).toMatch(
      /^--extra-index-url http:\/\/127\.0\.0\.1:7004\/simple\nfixture-gamma==1\.0\.0 \\\n/,
    )
    expect([outcome.failure, outcome.installed['fixture-gamma']]).toEqual([null, '1.0.0'])
  })

  test('a package of a repository is held to its commit, beside packages that are held to a hash', async () => {
    const commit = (await host.must('git --git-dir=/srv/git/fixture-vcs.git rev-parse v1')).trim()
    const outcome = await ask(
      installer,
      { 'custom node vcs': 'fixture-vcs @ git+http://127.0.0.1:7001/fixture-vcs.git@v1\nfixture-gamma\n' },
      { environment: `/opt/vcs-${installer}` },
    )
    expect(lockOf(outcome)).toMatch(/^fixture-gamma==1\.0\.0 \\\n {4}--hash=sha256:/)
    expect(lockOf(outcome)).toContain(`\nfixture-vcs @ git+http://127.0.0.1:7001/fixture-vcs.git@${commit}\n`)
    expect(outcome.failure).toBeNull()
    expect(outcome.installed).toMatchObject({ 'fixture-vcs': '3.0', 'fixture-gamma': '1.0.0' })
    const gone = 'fixture-vcs @ git+http://127.0.0.1:7001/fixture-gone.git'
    const { fault } = await ask(installer, { ...COMFYUI, 'custom node vcs': `${gone}\n` })
    expect(fault).toMatchObject({ code: 'CM1703', owners: ['custom node vcs'] })
    expect(fault?.message).toContain(`custom node vcs wants ${gone} (requirements.txt:1)`)
  })

  test('a package with another hash is not installed', async () => {
    const lock = `fixture-gamma==1.0.0 \\\n    --hash=sha256:${'0'.repeat(64)}\n`
    const { failure } = await ask(
      installer,
      { 'custom node a': 'fixture-gamma\n' },
      { environment: `/opt/hash-${installer}`, lock, variables: { ...INDEX, UV_NO_CACHE: '1', PIP_NO_CACHE_DIR: '1' } },
    )
    expect(failure).toMatchObject({ code: 'CM1403', type: 'checksum_mismatch' })
    expect(failure?.message).toContain('fixture-gamma')
  })

  test('an index that does not answer is nobody’s fault', async () => {
    const variables = { PIP_INDEX_URL: 'http://127.0.0.1:7999/simple', UV_HTTP_RETRIES: '0', PIP_RETRIES: '1' }
    const { fault } = await ask(installer, COMFYUI, { variables: { ...variables, UV_NO_CACHE: '1' } })
    expect(fault).toMatchObject({ code: 'CM1403', type: 'network_unreachable', owners: [] })
  })
})

test('uv and pip come to the same', async () => {
  const texts = { ...COMFYUI, ...ALPHA }
  expect(lockOf(await ask('uv', texts))).toBe(lockOf(await ask('pip', texts)))
})

test('two culprits among sixty are found in a few tries', async () => {
  const others = Object.fromEntries(
    Array.from({ length: 58 }, (_, index) => [`custom node n${index}`, 'fixture-gamma\n']),
  )
  const { fault } = await ask('uv', {
    'custom node a': 'fixture-alpha\n',
    ...others,
    'custom node z': 'fixture-beta<1\n',
  })
  expect(fault).toMatchObject({ code: 'CM1706', owners: ['custom node a', 'custom node z'] })
  expect(fault?.tries).toBeLessThanOrEqual(4)
})

test('a uv that is not there is said, with the way out', async () => {
  await ask('uv', COMFYUI)
  await host.must('mv /usr/lib/comfy-machine/bin/uv /usr/lib/comfy-machine/bin/uv.away')
  try {
    const { stderr } = await host.exec([NODE, PROGRAM, REQUEST])
    expect(stderr).toMatch(/there is no \/usr\/lib\/comfy-machine\/bin\/uv/)
    expect(stderr).toContain('set PYTHON_INSTALLER=pip')
  } finally {
    await host.must('mv /usr/lib/comfy-machine/bin/uv.away /usr/lib/comfy-machine/bin/uv')
  }
})
