/** What lies below a folder, as the file system has it. */

/** One name of a file. Files that have one `inode` are one file on the disk. */
export interface StoredFile {
  /** Relative to the folder. */
  readonly path: string
  readonly bytes: number
  readonly mtimeMs: number
  /** Device and number of the inode. */
  readonly inode: string
  /** Names that the inode has, also elsewhere on its volume. */
  readonly links: number
  /** Bytes that become free with its last name; less than `bytes` for a file with holes. */
  readonly diskBytes: number
}

/** Looks at whole folders at once. */
export interface Inventory {
  /**
   * Every file below a folder, sorted by path; empty when it does not exist. Links are not followed and what is neither file
   * nor folder is left out, but for the paths in `also`: of those the file is told that they lead to.
   */
  readTree(folder: string, also?: readonly string[]): Promise<readonly StoredFile[]>
  /** The volume that a path lies on; equal ones can share a file. */
  volumeOf(path: string): Promise<string>
}
