const USER = 'comfy-install'
const GROUP = 'comfy'

/**
 * Makes this process, which root started, one of the installers' user for good. Whatever a program of ComfyUI has put into
 * the models folder, a link to a file of root's too, it is met with no more than that user's rights.
 */
export function becomeInstaller(): void {
  process.umask(0o002)
  process.setgroups?.([GROUP])
  process.setgid?.(GROUP)
  process.setuid?.(USER)
}
