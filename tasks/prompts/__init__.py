"""Where prompts come from: files of the workspace, mirrors of S3 and of the hub, generated tasks."""
