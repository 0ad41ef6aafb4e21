import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { addWorkflow, commitTo, componentNode, fixtureUrls } from '../fixtures/scenario.ts'
import type { Host } from './host.ts'
import { bootMachine, configure, readStatus, start, startToReady, stop, WORKSPACE } from './machine.ts'

const NODES = 'comfy-install-nodes.service'

// A package of which there is no wheel, with a build that says what it could do; it needs nothing from an index.
const BACKEND = `
import os, zipfile
def attempt(action):
    try:
        action()
        return "yes"
    except Exception as error:
        return type(error).__name__
def build_wheel(directory, config_settings=None, metadata_directory=None):
    name = "fixture_built-1.0-py3-none-any.whl"
    seen = {
        "writes": attempt(lambda: open("${WORKSPACE}/comfyui/escaped", "w")),
        "reads": attempt(lambda: os.listdir("${WORKSPACE}/node-env")),
    }
    with zipfile.ZipFile(os.path.join(directory, name), "w") as wheel:
        wheel.writestr("fixture_built.py", f"SEEN = {seen!r}\\n")
        wheel.writestr("fixture_built-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: fixture-built\\nVersion: 1.0\\n")
        wheel.writestr("fixture_built-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("fixture_built-1.0.dist-info/RECORD", "")
    return name
`
const PROJECT = `[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "fixture-built"
version = "1.0"
`

describe('a generation', () => {
  let host: Host

  beforeAll(async () => {
    host = await bootMachine('builds')
  })

  afterAll(async () => {
    await host.stop()
  })

  test('has packages that were built in the sandbox', async () => {
    await commitTo(host, 'fixture-submodule', { 'pyproject.toml': PROJECT, 'backend.py': BACKEND })
    const requirement = `fixture-built @ git+${fixtureUrls.git}/fixture-submodule.git\n`
    await commitTo(host, 'node-bad-requirements', { 'requirements.txt': requirement })
    await configure(host, { COMPONENTS: 'demo,bad-requirements' })
    await startToReady(host)
    const program = 'import fixture_built; print(fixture_built.SEEN)'
    const seen = await host.must([`${WORKSPACE}/comfyui/current/venv/bin/python`, '-c', program])
    expect(seen.trim()).toBe("{'writes': 'OSError', 'reads': 'PermissionError'}")
    await stop(host)
  })

  test('may be written by its nodes where an operator wants it, and is removed with what they wrote', async () => {
    await addWorkflow(host, 'writes', componentNode('node-custom-script', { custom_script: 'mv SCRIPTS/* .' }))
    await configure(host, { COMPONENTS: 'demo,writes', CUSTOM_NODES_WRITABLE: '1' })
    await startToReady(host)
    const pid = await host.must(['systemctl', 'show', '-P', 'MainPID', 'comfyui@gpu0'])
    const node = `${WORKSPACE}/comfyui/gpu0/custom_nodes/node-custom-script`
    const write = `umask $1; mkdir -p ${node}/kept && touch ${node}/kept/file`
    await host.write(
      '/root/write',
      `umask=$(awk '/^Umask/ {print $2}' /proc/$1/status)
exec nsenter -t $1 -m -S $(id -u comfy) -G $(id -g comfy) -- sh -c '${write}' sh $umask\n`,
    )
    await host.must(['bash', '/root/write', pid.trim()])
    const written = (await host.must(['readlink', '-f', `${WORKSPACE}/comfyui/current`])).trim()
    await stop(host)
    for (const COMPONENTS of ['demo', 'demo,second']) {
      await configure(host, { COMPONENTS })
      await startToReady(host)
      await host.waitFor(`[ $(ls -A ${WORKSPACE}/comfyui/generations | wc -l) = 2 ]`, 10_000)
      await stop(host)
    }
    expect((await host.exec(['test', '-e', written])).code).toBe(1)
  })

  test('that does not fit on its volume leaves the one that is there, and nothing of itself', async () => {
    await host.must('mkdir -p /small && mount -t tmpfs -o size=300M tmpfs /small')
    const settings = { WORKSPACE_PATH: '/small', COMPONENTS: 'demo' }
    await configure(host, settings)
    await startToReady(host)
    await stop(host)
    const state = `cd /small/comfyui && readlink current gpu0 gpu1 && ls -A generations && find generations -type f | sort | xargs sha256sum`
    const before = await host.must(state)
    await host.must('mount -o remount,size=$(( $(df -k --output=used /small | tail -1) + 4096 ))k /small')
    await configure(host, { ...settings, COMPONENTS: 'demo,second' })
    expect((await start(host)).code).not.toBe(0)
    expect((await readStatus(host)).failing).toContainEqual(expect.objectContaining({ code: 'CM0402', unit: NODES }))
    await stop(host)
    expect(await host.must(state)).toBe(before)
    await host.must('mount -o remount,size=300M /small')
    await startToReady(host)
    await stop(host)
  })
})
