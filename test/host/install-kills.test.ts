import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Host } from './host.ts'
import { bootMachine, configure, startToReady, WORKSPACE } from './machine.ts'
import { randomOf, SEED } from './random.ts'

const KILLS = 50
const HOME = `${WORKSPACE}/comfyui`
const UPDATE = 'comfy-update.service'
const GENERATION = /^generations\/[0-9a-f]{16}$/

/** Imports every custom node of a generation ($1) as ComfyUI does, with its own Python. */
const IMPORT_TEST = `
import importlib.util, os, sys
sys.path.insert(0, os.getcwd())
import torch, nodes
for name in sorted(os.listdir("custom_nodes")):
    path = os.path.join("custom_nodes", name, "__init__.py")
    if os.path.exists(path):
        spec = importlib.util.spec_from_file_location(name.replace("-", "_"), path, submodule_search_locations=[os.path.dirname(path)])
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        print(name)
`

/** Checks of whole repositories: the checkouts of every whole generation, and every mirror. */
const FSCK = `
set -e
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
for complete in ${HOME}/generations/*/.complete; do
  generation=\${complete%/.complete}
  for git in $generation/.git $generation/custom_nodes/*/.git; do
    git -C "\${git%/.git}" fsck --no-progress --full
    # In ComfyUI's own checkout the models are a link to those of the machine.
    test -z "$(git -C "\${git%/.git}" status --porcelain --untracked-files=no -- . ':!models')"
  done
done
for mirror in /var/cache/comfy-machine/git/*.git; do git --git-dir="$mirror" fsck --no-progress --connectivity-only; done
`

// A machine runs its generation all the time while the next one is built, killed, and built again.
describe(`${KILLS} kills of an installation (COMFY_TEST_SEED=${SEED})`, () => {
  let host: Host
  let old: string
  let pid: string
  const random = randomOf(SEED)
  const told: string[] = []

  beforeAll(async () => {
    host = await bootMachine('install-kills')
    await configure(host, { MOCK_GPU_NUM: '1' })
    // The controller would move the machine to each generation; it is held while they are made.
    await host.write('/etc/systemd/system/comfy-machine.service.d/held.conf', '[Service]\nWatchdogSec=0\n')
    await host.must('systemctl daemon-reload')
    await startToReady(host)
    old = await pointer('current')
    pid = await comfyui()
    await host.must('mkdir -p /run/comfy-machine/update && cp /run/comfy-machine/plan.json /run/comfy-machine/update/')
    await host.must('systemctl kill --signal=STOP --kill-whom=main comfy-machine')
  })

  afterAll(async () => {
    await host.stop()
  })

  const pointer = async (name: string): Promise<string> =>
    (await host.exec(['readlink', `${HOME}/${name}`])).stdout.trim()
  const generations = async (): Promise<readonly string[]> =>
    (await host.must(['ls', '-A', `${HOME}/generations`]))
      .trim()
      .split('\n')
      .map((name) => `generations/${name}`)
  const comfyui = async (): Promise<string> => (await host.must('systemctl show -P MainPID comfyui@gpu0')).trim()

  async function changeNode(index: number): Promise<void> {
    const change = JSON.stringify({ files: { 'change.txt': `${index}\n` } })
    await host.must(['curl', '-sSf', '-d', change, 'http://127.0.0.1:7001/_commit/node-alpha'])
  }

  async function build(): Promise<number> {
    const begunMs = Date.now()
    const { code, stdout } = await host.exec(
      `systemctl start ${UPDATE} || { journalctl -b -u ${UPDATE} -o cat -n 20; exit 1; }`,
    )
    expect(stdout).toBe('')
    expect(code).toBe(0)
    return Date.now() - begunMs
  }

  /** Starts the installation and kills it after a time: its process, all of it, or all of it with what runs in the sandbox. */
  async function buildAndKill(ms: number, how: number): Promise<void> {
    const whom = how < 0.4 ? 'main' : 'all'
    const also = how > 0.7 ? '; systemctl kill --signal=KILL "comfy-sandbox@*.service" 2>/dev/null' : ''
    await host.exec(
      `systemctl start --no-block ${UPDATE}; sleep ${(ms / 1000).toFixed(3)}; systemctl kill --signal=KILL --kill-whom=${whom} ${UPDATE}${also}; while systemctl is-active ${UPDATE} | grep -qE '^(de)?activating|^reloading'; do sleep 0.02; done; systemctl reset-failed ${UPDATE} 2>/dev/null; true`,
    )
  }

  test('leave the old generation running, and the next run completes', async () => {
    await changeNode(-1)
    const typicalMs = await build()
    const made = new Set([old])
    for (let index = 0; index < KILLS; index += 1) {
      await changeNode(index)
      const ms = random() * typicalMs
      await buildAndKill(ms, random())
      const killed = `kill ${index} after ${ms.toFixed(0)} of ${typicalMs} ms`
      expect([await pointer('current'), await pointer('gpu0'), await comfyui()], killed).toEqual([old, old, pid])
      await host.must(['curl', '-sSf', '--max-time', '5', '-o', '/dev/null', 'http://127.0.0.1:8188/system_stats'])
      const nextMs = await build()
      told.push(`${ms.toFixed(0)}→${nextMs}`)
      const next = await pointer('next')
      expect(next, killed).toMatch(GENERATION)
      expect(made.has(next), killed).toBe(false)
      made.add(next)
      for (const generation of [old, next]) {
        const python = `cd ${HOME}/${generation} && PYTHONDONTWRITEBYTECODE=1 runuser -u comfy -- venv/bin/python`
        const imported = await host.must(`${python} - <<'END'\n${IMPORT_TEST}END`)
        expect(imported.trim().split('\n'), killed).toEqual(
          expect.arrayContaining(['node-alpha', 'node-beta', 'node-fixture', 'node-gamma', 'node-recursive']),
        )
      }
      await host.must(FSCK)
      expect(await host.read(`${HOME}/${next}/custom_nodes/node-alpha/change.txt`)).toBe(`${index}\n`)
      await host.must('systemctl start comfy-collect')
      expect(await generations(), killed).toEqual([old, next].sort())
    }
    process.stdout.write(`install kills: typical ${typicalMs} ms; ${told.join(' ')}\n`)
  }, 900_000)

  test('leave nothing behind', async () => {
    expect(await host.must(`find /var/cache/comfy-machine/git -name '*.lock' -o -name '.tmp-*'`)).toBe('')
  })

  test('do not keep the machine from going on to the last one', async () => {
    const wanted = await pointer('next')
    await host.must('systemctl kill --signal=CONT --kill-whom=main comfy-machine')
    await host.waitFor(`test "$(readlink ${HOME}/current)" = ${wanted} -a "$(readlink ${HOME}/gpu0)" = ${wanted}`)
    await host.waitFor('comfy-machine status --wait --timeout 5')
    expect(await comfyui()).not.toBe(pid)
  })
})
