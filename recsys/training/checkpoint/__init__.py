"""Checkpoints on disk: complete, or refused.

A checkpoint is a folder `step-N`. Each rank (trainer of a group) writes a part, the folder `rank-R`, and then
`rank-R.json`, which lists the part's files with size and SHA-256. When all parts are there, rank 0 writes the manifest,
which lists all files, and renames the folder, which was `step-N.partial` until then. So a crash leaves either a
complete checkpoint or a partial folder, which the next start removes. Of an embedding store's snapshot only the
manifest is listed; it has the checksums of the other files.
"""
